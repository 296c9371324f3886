"""One text per value: what a cache key is made of."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import hashlib
import pathlib
import uuid
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, TypeGuard, cast

from varco_cache._errors import CacheKeyError

PLAIN: frozenset[type] = frozenset({int, str, bool, float, bytes, type(None)})
"""Types whose `repr` tells equal values, and only them, apart from all others."""

LONGEST = 400
_DEEPEST = 32
_NAMED = (
    uuid.UUID,
    decimal.Decimal,
    dt.date,
    dt.time,
    dt.timedelta,
    dt.tzinfo,
    pathlib.PurePath,
    range,
    complex,
)


class Text(str):
    """Text that stands for itself inside an f-string with `!r`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def canonical(name: str, value: Any) -> Text:
    """The text of an argument: the same for equal values, different for others.

    Plain values, built-in containers, enums, dates, UUIDs, dataclasses and pydantic models have
    one; any other object may define `__cache_key__() -> str`.

    Raises:
        CacheKeyError: There is no text that would not change from process to process.
    """
    return Text(_text(name, value, _DEEPEST))


def shortened(prefix: str, key: str) -> str:
    """The key itself, or its prefix and a digest when it is too long to keep."""
    if len(key) <= LONGEST:
        return key
    return (
        prefix + hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
    )


def _text(name: str, value: Any, depth: int) -> str:
    kind: type[Any] = value.__class__
    if kind in PLAIN:
        return repr(value)
    if not depth:
        raise CacheKeyError(f"argument {name!r}", value, f"is nested over {_DEEPEST} deep")
    depth -= 1
    own = getattr(kind, "__cache_key__", None)
    if own is not None:
        return f"{_name(kind)}<{own(value)!r}>"
    if isinstance(value, enum.Enum):
        return f"{_name(kind)}.{value.name or value.value!r}"
    if isinstance(value, _NAMED):
        return f"{_name(kind)}({value!r})"
    contained = _contained(name, value, depth)
    if contained is not None:
        return f"{_name(kind)}{contained}"
    fields = _fields(value)
    if fields is not None:
        shown = [f"{field}={_text(name, one, depth)}" for field, one in fields.items()]
        return f"{_name(kind)}({','.join(shown)})"
    if isinstance(value, str | int | float | bytes):
        return f"{_name(kind)}({value!r})"
    if isinstance(value, type):
        return qualified(value)
    raise CacheKeyError(
        f"argument {name!r}", value, "pass key=, or give its class a __cache_key__() -> str"
    )


def _name(kind: type) -> str:
    """Tells a type from its namesakes in other modules."""
    return kind.__qualname__ if kind.__module__ == "builtins" else qualified(kind)


def qualified(one: Any) -> str:
    """The name of a class or a function, with its module."""
    return f"{one.__module__}.{one.__qualname__}"


def is_mapping(value: object) -> TypeGuard[Mapping[Any, Any]]:
    """Whether it is a mapping, of anything."""
    return isinstance(value, Mapping)


def _is_set(value: object) -> TypeGuard[AbstractSet[Any]]:
    return isinstance(value, AbstractSet)


def _contained(name: str, value: Any, depth: int) -> str | None:
    if isinstance(value, list | tuple):
        return f"[{','.join(_text(name, one, depth) for one in cast('list[Any]', value))}]"
    if is_mapping(value):
        pairs = [f"{_text(name, k, depth)}:{_text(name, v, depth)}" for k, v in value.items()]
        return f"{{{','.join(sorted(pairs))}}}"
    if _is_set(value):
        return f"{{{','.join(sorted(_text(name, one, depth) for one in value))}}}"
    return None


def _fields(value: Any) -> dict[str, Any] | None:
    kind: type[Any] = value.__class__
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.compare}
    declared = getattr(kind, "model_fields", None)
    if isinstance(declared, dict):
        # Not what it dumps: a field that is kept out of dumps still tells two models apart.
        fields = {field: getattr(value, field) for field in cast("dict[str, Any]", declared)}
        return fields | (getattr(value, "model_extra", None) or {})
    return None
