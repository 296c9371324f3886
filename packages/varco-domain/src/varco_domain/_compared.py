"""Where query compilers place literals among the values of a model's fields."""

from collections.abc import Callable
from datetime import timedelta
from enum import Enum
from typing import Any, Final, cast

from varco_domain._fields import FieldKind, FieldMeta
from varco_domain._limits import INT_LIMIT, KEY_LENGTH, check_text
from varco_query import compile as kit

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


def as_key(field: FieldMeta, stored: kit.Stored | None = None) -> Callable[[Any], Any]:
    """The function that makes of any value the one that a key of this field is stored as.

    It gives None of a value that no row can have as its key: one of another kind (True is no int),
    or of a size that is refused. Of an enum it gives the value, not the member.

    Args:
        field: A field of the key.
        stored: How the backend stores it, if not as `stored_as` says.
    """
    place = (stored or stored_as(field)).place
    longest = field.hint.max_length or KEY_LENGTH
    kind = field.kind

    def find(value: Any) -> Any:
        if isinstance(value, Enum):
            value = value.value
        if kind is FieldKind.BYTES:
            return value if isinstance(value, bytes) and len(value) <= longest else None
        if isinstance(value, str) and not _is_storable(value):
            return None
        placed = place(value)
        return None if placed is None or not placed.exact else placed.value

    return find


def _is_storable(text: str) -> bool:
    try:
        check_text(text)
    except ValueError:
        return False
    return True
