"""What no engine keeps of a declaration: names, and references that cannot hold."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from varco_domain._errors import ModelDefinitionError
from varco_domain._fields import FieldMeta
from varco_domain._hints import table_name

if TYPE_CHECKING:
    from varco_domain._parsed import ParsedMeta

# PostgreSQL's; MariaDB keeps 64 characters.
_NAME_BYTES = 63


def check_names(cls: type, fields: Mapping[str, FieldMeta]) -> None:
    """Refuse names that are too long, or that an engine takes for each other.

    Raises:
        ModelDefinitionError: It names the field; none for the table.
    """
    table = table_name(cls)
    for name, field in ((table, None), *((name, name) for name in fields)):
        if len(name.encode()) > _NAME_BYTES:
            raise ModelDefinitionError(
                cls.__name__, field, f"{name!r} is a name of more than {_NAME_BYTES} bytes"
            )
    seen: dict[str, str] = {}
    for name in fields:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise ModelDefinitionError(
                cls.__name__, name, f"to engines it has the same name as {other!r}"
            )


def check_reference(cls: type, field: FieldMeta) -> None:
    """Refuse a foreign key to a model, given as a class, that has no such field of this type.

    Raises:
        ModelDefinitionError: It names the field.
    """
    key = field.foreign_key
    target: ParsedMeta | None = getattr(key and key.reference, "__varco_meta__", None)
    # What is not read yet is looked at when there are tables.
    if key is None or target is None or target.entity_cls is not key.reference:
        return
    other: Any = target.entity_cls
    name = key.field
    if name == "pk" and not target.is_composite_pk:
        name = target.pk_fields[0]
    found = target.fields.get(name)
    if found is None:
        known = ", ".join(target.fields)
        raise ModelDefinitionError(
            cls.__name__, field.name, f"{other.__name__} has no field {key.field!r}; it has {known}"
        )
    if found.kind is not field.kind:
        raise ModelDefinitionError(
            cls.__name__,
            field.name,
            f"it is stored as {field.kind}, and {other.__name__}.{name}, which it refers to, as "
            f"{found.kind}",
        )
