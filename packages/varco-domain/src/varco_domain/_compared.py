"""Where query compilers place literals among the values of a model's fields."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from varco_domain._fields import FieldKind, FieldMeta
from varco_domain._limits import INT_LIMIT
from varco_query import compile as kit

if TYPE_CHECKING:
    from enum import Enum

_INTEGER: Final = kit.integers(-INT_LIMIT, INT_LIMIT - 1)
_BY_CLASS: Final = {str: kit.TEXT, int: _INTEGER, bool: kit.BOOLEAN}
_BY_KIND: Final = {
    FieldKind.STR: kit.TEXT,
    FieldKind.INT: _INTEGER,
    FieldKind.FLOAT: kit.FLOAT,
    FieldKind.BOOL: kit.BOOLEAN,
    FieldKind.BYTES: kit.OPAQUE,
    FieldKind.DATETIME: kit.MOMENT,
    FieldKind.DATE: kit.DATE,
    FieldKind.TIME: kit.TIME,
    FieldKind.TIMEDELTA: kit.durations(timedelta(microseconds=INT_LIMIT - 1)),
    FieldKind.UUID: kit.IDENTIFIER,
    FieldKind.JSON: kit.DOCUMENT,
}


def value_class(field: FieldMeta) -> type | None:
    """The class of the values of an enum or a literal; None when there are several."""
    classes: set[type] = {type(value) for value in _values(field)}
    return classes.pop() if len(classes) == 1 else None


def _values(field: FieldMeta) -> tuple[Any, ...]:
    if field.kind is not FieldKind.ENUM:
        return field.choices
    return tuple(member.value for member in cast("type[Enum]", field.python_type))


def stored_as(field: FieldMeta) -> kit.Stored:
    """How a query compiler places literals among the values of a field.

    Decimals are those of the field's hint; an engine that keeps fewer digits says so itself.
    """
    if field.kind in {FieldKind.ENUM, FieldKind.LITERAL}:
        return _BY_CLASS[value_class(field) or str]
    if field.kind is FieldKind.DECIMAL:
        return kit.decimals(field.hint.precision, field.hint.scale)
    return _BY_KIND[field.kind]
