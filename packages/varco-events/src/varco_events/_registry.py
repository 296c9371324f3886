"""Which class an event type name stands for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from varco_events._errors import EventTypeClashError, EventTypeNameError

if TYPE_CHECKING:
    from collections.abc import Callable

    from varco_events._event import Event

# Nothing that JSON would have to escape, so that an envelope can be compared byte by byte.
_NAME = re.compile(r"[^\x00-\x1f\x7f\"\\\ud800-\udfff]{1,255}")

# Written when a class statement runs and read by serializers; single dict operations, so the
# interpreter lock is what protects them.
_importable: dict[str, type[Event]] = {}
_local: WeakValueDictionary[str, type[Event]] = WeakValueDictionary()
_short: dict[str, type[Event] | None] = {}
_on_change: list[Callable[[], None]] = []


def register(cls: type[Event]) -> None:
    """Make `cls` known under its type name.

    Raises:
        EventTypeClashError: another importable class has the name.
        EventTypeNameError: the name or the version cannot be written into an envelope.
    """
    name, version = cls.event_type_name(), cls.__event_version__
    _check(cls, name, version)
    if "<locals>" in _place(cls):
        _local[name] = cls
    else:
        known = _importable.get(name)
        if known is not None and _place(known) != _place(cls):
            raise EventTypeClashError(name, _place(known), _place(cls))
        _importable[name] = cls
    if cls.__name__ != name and generic_parts(cls) is not None:
        # What older versions called it, as long as it is the only one of that name.
        short = cls.__name__
        other = _short.get(short)
        _short[short] = cls if other is None or _place(other) == _place(cls) else None
    changed()


def event_class(name: str) -> type[Event] | None:
    """The class of a type name; an importable class goes before one local to a function.

    A parametrization that this process has not made is read as its generic class.
    """
    found = _importable.get(name) or _local.get(name)
    if found is None and name.endswith("]"):
        base = name.partition("[")[0]
        found = _short.get(name) or _importable.get(base) or _local.get(base)
        if found is not None and not any(found.__pydantic_generic_metadata__.values()):
            return None  # it is not generic
    return found


def generic_parts(cls: type[Event]) -> tuple[type[Event], tuple[Any, ...]] | None:
    """The generic class and the arguments of a parametrization; None for any other class."""
    known = cls.__pydantic_generic_metadata__
    origin: Any = known["origin"]
    return None if origin is None else (origin, known["args"])


def argument_name(argument: Any) -> str:
    """What an argument of a parametrization is called: no two of them the same."""
    if not isinstance(argument, type) or hasattr(argument, "__origin__"):
        return repr(argument).replace('"', "'").replace("\\", "/")
    if argument.__module__ == "builtins":
        return argument.__qualname__
    return f"{argument.__module__}.{argument.__qualname__}"


def is_importable(cls: type[Event]) -> bool:
    """Whether `cls` is the importable class of its name."""
    return _importable.get(cls.event_type_name()) is cls


def on_change(callback: Callable[[], None]) -> None:
    """Call `callback` whenever a class is registered or built again."""
    _on_change.append(callback)


def changed() -> None:
    """Say that what was cached of classes may be old."""
    for callback in _on_change:
        callback()


def _check(cls: type[Event], name: Any, version: Any) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise EventTypeNameError(
            f"{_place(cls)}: event type name {name!r} must be a string of 1 to 255 characters "
            f"without quotes, backslashes and control characters"
        )
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise EventTypeNameError(
            f"{_place(cls)}: __event_version__ must be an int from 1 on, not {version!r}"
        )


def _place(cls: type[Event]) -> str:
    parts = generic_parts(cls)
    if parts is None:
        return f"{cls.__module__}.{cls.__qualname__}"
    origin, arguments = parts
    return f"{_place(origin)}[{', '.join(map(argument_name, arguments))}]"
