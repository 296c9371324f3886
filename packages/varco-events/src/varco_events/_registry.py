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
_on_change: list[Callable[[], None]] = []


def register(cls: type[Event]) -> None:
    """Make `cls` known under its type name.

    Raises:
        EventTypeClashError: another importable class has the name.
        EventTypeNameError: the name or the version cannot be written into an envelope.
    """
    name, version = cls.event_type_name(), cls.__event_version__
    _check(cls, name, version)
    if "<locals>" in cls.__qualname__:
        _local[name] = cls
    else:
        known = _importable.get(name)
        if known is not None and _place(known) != _place(cls):
            raise EventTypeClashError(name, _place(known), _place(cls))
        _importable[name] = cls
    changed()


def find(name: str) -> type[Event] | None:
    """The class of a type name; an importable class goes before one local to a function."""
    return _importable.get(name) or _local.get(name)


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
    return f"{cls.__module__}.{cls.__qualname__}"
