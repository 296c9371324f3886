"""Reading a field of a row: mapped attributes of an object, or items of a mapping."""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from operator import attrgetter
from typing import Any, cast

from varco_query._errors import InvalidNodeError, UnknownFieldError
from varco_query._value import check_field

type Reader = Callable[[object], Any]


def mapped_names(cls: type) -> tuple[str, ...] | None:
    """The fields that a class declares; None when it declares none (a plain object)."""
    if dataclasses.is_dataclass(cls):
        return tuple(field.name for field in dataclasses.fields(cls))
    for attribute in ("model_fields", "_fields"):
        declared: object = getattr(cast("object", cls), attribute, None)
        if isinstance(declared, Mapping | tuple):
            return tuple(cast("Mapping[str, Any] | tuple[str, ...]", declared))
    return None


def reader(field: str) -> Reader:
    """A function that reads the field of a row, and is faster the second time for each class.

    A missing item of a mapping is null, as is anything reached through null. A mapping may hold a
    whole path as one key.

    Raises:
        UnknownFieldError: The row's class maps no such field; raised when a row is read.
    """
    parts = check_field(field).split(".")
    if len(parts) == 1:
        return _step(parts[0], field)
    steps = [_step(part, field) for part in parts]

    def read(row: object) -> Any:
        value: Any = row
        if isinstance(row, Mapping) and field in (items := cast("Mapping[str, Any]", row)):
            return items[field]
        for step in steps:
            if value is None:
                return None
            value = step(value)
        return value

    return read


def _step(name: str, field: str) -> Reader:
    # Filled by whoever comes first; two threads that race store equal functions.
    by_class: dict[type, Reader] = {}

    def read(row: object) -> Any:
        try:
            get = by_class[row.__class__]
        except KeyError:
            get = by_class[row.__class__] = _getter(row.__class__, name, field)
        return get(row)

    return read


def _getter(cls: type[object], name: str, field: str) -> Reader:
    if issubclass(cls, Mapping):
        return lambda row: cast("Mapping[str, Any]", row).get(name)
    declared = mapped_names(cls)
    if declared is None and issubclass(cls, Collection) and not issubclass(cls, str):
        raise InvalidNodeError(f"field {field!r} passes through a collection at {name!r}")
    if declared is not None:
        if name not in declared:
            raise UnknownFieldError(field, declared)
        return attrgetter(name)
    if not name.startswith("_"):
        for base in cls.__mro__:
            if name in base.__dict__:
                # A property, slot or mapped column, but no method and no class attribute.
                if hasattr(base.__dict__[name], "__set__"):
                    return attrgetter(name)
                break
        return lambda row: _from_instance(row, name, field)
    raise UnknownFieldError(field)


def _from_instance(row: object, name: str, field: str) -> Any:
    own: dict[str, Any] = getattr(row, "__dict__", {})
    try:
        return own[name]
    except KeyError:
        raise UnknownFieldError(field, [key for key in own if key[:1] != "_"]) from None
