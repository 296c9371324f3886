"""One text per value: what a cache key is made of.

Two values have one text only if they are of one type and have equal parts. No code of a user's own
is asked on the way but a `__cache_key__`, which is there to be.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import hashlib
import pathlib
import uuid
import zoneinfo
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any

from varco_cache._errors import CacheKeyError
from varco_cache._identity import class_name, class_of, given_key

if TYPE_CHECKING:
    from collections.abc import Callable

PLAIN: frozenset[type] = frozenset({int, str, bool, bytes, type(None)})
"""Types whose `repr` tells equal values, and only them, apart from all others."""

LONGEST = 400
_DEEPEST = 32
_REMEDY = "pass key=, or give its class a __cache_key__() -> str"


class Text(str):
    """Text that stands for itself inside an f-string with `!r`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def canonical(name: str, value: Any) -> Text:
    """The text of an argument: the same only for equal values of one type.

    Plain values, built-in containers, enums, dates, UUIDs, paths, dataclasses and pydantic models
    have one, and subclasses that do not redefine when they are equal; any other object may define
    `__cache_key__() -> str`.

    Raises:
        CacheKeyError: There is none: nothing says what it is equal to, or it is equal to nothing.
    """
    return Text(_Writer(name).text(value, _DEEPEST))


def shortened(prefix: str, key: str) -> str:
    """The key itself, or its prefix and a digest when it is too long to keep."""
    if len(key) <= LONGEST:
        return key
    return (
        prefix + hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
    )


class _Writer:
    """Writes the text of one argument, which errors name."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def text(self, value: Any, depth: int) -> str:
        kind = class_of(value)
        if kind in PLAIN:
            return _plain(value)
        if not depth:
            raise self._refusal(value, f"is nested over {_DEEPEST} deep")
        depth -= 1
        if isinstance(value, type):
            return f"type<{class_name(value)}>"
        own = getattr(kind, "__cache_key__", None)
        if own is not None:
            key = given_key(own(value), f"argument {self._name!r}", value)
            return f"{class_name(kind)}<{key!r}>"
        if issubclass(kind, enum.Enum):
            return f"{class_name(kind)}.{self._member(kind, value)}"
        base = _known_base(kind)
        if base is not None:
            parts = self._as(base, value, depth)
            return f"{class_name(kind)}{parts}{self._state(kind, base, value, depth)}"
        fields = _fields(kind, value)
        if fields is None:
            raise self._refusal(value, _REMEDY)
        return f"{class_name(kind)}({self._named(fields, depth)})"

    def _refusal(self, value: object, remedy: str) -> CacheKeyError:
        return CacheKeyError(f"argument {self._name!r}", value, remedy)

    def _named(self, fields: dict[str, Any], depth: int) -> str:
        return ",".join(f"{field}={self.text(one, depth)}" for field, one in fields.items())

    def _member(self, kind: type[enum.Enum], value: enum.Enum) -> str:
        name = value._name_
        if kind._member_map_.get(name) is value:
            return name
        if isinstance(value, enum.Flag):  # several members as one, which has no name of its own
            return repr(int(value._value_))
        raise self._refusal(value, _REMEDY)

    def _as(self, base: Any, value: Any, depth: int) -> str:
        """What the value is as one of a built-in type, whose methods are asked."""
        if base in _DICTS:
            pairs = [
                f"{self.text(key, depth)}:{self.text(one, depth)}" for key, one in base.items(value)
            ]
            # Only of an ordered one is the order a part.
            return f"{{{','.join(pairs if base is collections.OrderedDict else sorted(pairs))}}}"
        if base in _SETS:
            return f"{{{','.join(sorted(self.text(one, depth) for one in base.__iter__(value)))}}}"
        if base in _SEQUENCES:
            return f"[{','.join([self.text(one, depth) for one in base.__iter__(value)])}]"
        written = _ATOMS[base](value)
        if written is None:
            raise self._refusal(value, f"is equal to nothing, not even itself; {_REMEDY}")
        return f"({written})"

    def _state(self, kind: type, base: type, value: Any, depth: int) -> str:
        """What an instance of a subclass holds besides."""
        if kind is base:
            return ""
        fields = dict(getattr(value, "__dict__", {}))
        for owner in kind.__mro__[: kind.__mro__.index(base)]:
            if owner.__module__ != base.__module__:
                fields |= {
                    name: member.__get__(value)
                    for name, member in vars(owner).items()
                    if isinstance(member, MemberDescriptorType) and hasattr(value, name)
                }
        return f"({self._named(fields, depth)})" if fields else ""


def _known_base(kind: type[Any]) -> Any:
    """The built-in type that a class is, or is an heir of that is equal to others as it is."""
    for base in kind.__mro__:
        if base in _KNOWN:
            return base if kind.__eq__ is base.__eq__ else None
    return None


def _fields(kind: type[Any], value: Any) -> dict[str, Any] | None:
    """The parts that make a dataclass or a pydantic model equal to another; None for all else."""
    equal: Any = kind.__eq__
    if dataclasses.is_dataclass(kind):
        if getattr(getattr(equal, "__code__", None), "co_qualname", "") != _GENERATED:
            return None
        compared = [field.name for field in dataclasses.fields(kind) if field.compare]
        return {name: object.__getattribute__(value, name) for name in compared}
    if getattr(equal, "__module__", None) in _PYDANTIC and hasattr(kind, "model_fields"):
        held = {name: value.__dict__[name] for name in kind.model_fields}
        return {**held, "(extra)": value.__pydantic_extra__, "(own)": value.__pydantic_private__}
    return None


@dataclasses.dataclass
class _Probe:
    field: int


_GENERATED: str = _Probe.__eq__.__code__.co_qualname
"""What the equality that `@dataclass` writes is called; one written by hand is not."""

_PYDANTIC = frozenset({"pydantic.main", "pydantic.root_model"})


def _plain(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # an integer of more digits than Python writes
        return f"{value:#x}"


def _float(value: float) -> str | None:
    return None if value != value else float.__repr__(value)  # noqa: PLR0124 # not a number


def _complex(value: complex) -> str | None:
    real, imag = _float(value.real), _float(value.imag)
    return None if real is None or imag is None else f"{real},{imag}"


def _decimal(value: decimal.Decimal) -> str | None:
    return None if decimal.Decimal.is_nan(value) else decimal.Decimal.__repr__(value)


def _datetime(value: dt.datetime) -> str:
    return f"{dt.datetime.isoformat(value)},{value.fold},{_zone(value.tzinfo)}"


def _time(value: dt.time) -> str:
    return f"{dt.time.isoformat(value)},{value.fold},{_zone(value.tzinfo)}"


def _zone(zone: dt.tzinfo | None) -> str:
    """Its name; of a zone of another kind the offset, written beside the time, has to do."""
    if zone is None:
        return ""
    if type(zone) is dt.timezone:
        return dt.timezone.__repr__(zone)
    key = zone.key if type(zone) is zoneinfo.ZoneInfo else ""
    return f"{class_name(type(zone))}({key!r})"


def _timedelta(value: dt.timedelta) -> str:
    return f"{value.days},{value.seconds},{value.microseconds}"


_DICTS: frozenset[Any] = frozenset(
    {dict, collections.OrderedDict, collections.defaultdict, collections.Counter}
)
_EMPTY: dict[str, str] = {}
_SETS: frozenset[Any] = frozenset({set, frozenset, type(_EMPTY.keys()), type(_EMPTY.items())})
_SEQUENCES: frozenset[Any] = frozenset({list, tuple, collections.deque})
_ATOMS: dict[Any, Callable[[Any], str | None]] = {
    float: _float,
    str: str.__repr__,
    int: lambda value: _plain(int(value)),
    bytes: bytes.__repr__,
    complex: _complex,
    decimal.Decimal: _decimal,
    dt.datetime: _datetime,
    dt.date: dt.date.isoformat,
    dt.time: _time,
    dt.timedelta: _timedelta,
    dt.timezone: dt.timezone.__repr__,
    zoneinfo.ZoneInfo: lambda zone: None if zone.key is None else repr(str(zone.key)),
    uuid.UUID: lambda value: str(value.int),
    range: range.__repr__,
    pathlib.PurePath: lambda path: repr(pathlib.PurePath.__str__(path)),
}
"""How each is written; None for what is equal to nothing."""

_KNOWN: frozenset[Any] = _DICTS | _SETS | _SEQUENCES | _ATOMS.keys()
