"""From a field of a model to a column."""

from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa
from sqlalchemy.types import TypeEngine

from varco_domain.backend import FieldKind, FieldMeta, value_class
from varco_domain.exception import RepositoryClassCreationFailed
from varco_sa._types import (
    Bytes,
    Choice,
    ClockTime,
    Duration,
    Float,
    Identifier,
    Integer,
    JsonText,
    Number,
    Text,
    Timestamp,
)

if TYPE_CHECKING:
    from enum import Enum

# In the info of a column that others have made, with types and collations of theirs.
EXISTING = "varco_existing"


def column_type(  # noqa: C901, PLR0912  # one case for each kind
    owner: type, field: FieldMeta, *, in_key: bool
) -> TypeEngine[Any]:
    """The type of the field's column.

    Args:
        owner: The model.
        field: Its field.
        in_key: Whether an index or a constraint holds it; MariaDB then needs a length.

    Raises:
        RepositoryClassCreationFailed: An enum has values of several types.
    """
    hint, name = field.hint, field.name
    match field.kind:
        case FieldKind.STR:
            return Text(owner, name, hint.max_length, in_key=in_key)
        case FieldKind.INT:
            return Integer(owner, name)
        case FieldKind.FLOAT:
            return Float(owner, name)
        case FieldKind.BOOL:
            return sa.Boolean()
        case FieldKind.BYTES:
            return Bytes(owner, name, hint.max_length, in_key=in_key)
        case FieldKind.DECIMAL:
            return Number(owner, name, hint.precision, hint.scale)
        case FieldKind.DATETIME:
            return Timestamp(owner, name)
        case FieldKind.DATE:
            return sa.Date()
        case FieldKind.TIME:
            return ClockTime(owner, name)
        case FieldKind.TIMEDELTA:
            return Duration(owner, name)
        case FieldKind.UUID:
            return Identifier(owner, name)
        case FieldKind.ENUM:
            return _enum_type(owner, field)
        case FieldKind.LITERAL:
            literal: TypeEngine[Any] = _scalar_type(owner, name, field.python_type, field.choices)
            return literal
        case FieldKind.JSON:
            return JsonText(owner, name)


def _enum_type(owner: type, field: FieldMeta) -> TypeEngine[Any]:
    cls = value_class(field)
    if cls not in {str, int}:
        raise RepositoryClassCreationFailed(
            f"{owner.__name__}.{field.name}: the values of {field.python_type.__name__} are to be "
            "all str or all int",
            owner,
        )
    members = tuple(member.value for member in cast("type[Enum]", field.python_type))
    stored = _scalar_type(owner, field.name, cls, members)
    return Choice(stored, cast("type[Enum]", field.python_type), owner, field.name)


def _scalar_type(owner: type, name: str, cls: type, values: tuple[Any, ...]) -> Any:
    if cls is bool:
        return sa.Boolean()
    if cls is int:
        return Integer(owner, name)
    return Text(owner, name, max(len(value) for value in values))
