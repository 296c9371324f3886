"""What no engine keeps of a declaration: names, and references that cannot hold."""

from collections.abc import Mapping
from typing import Any

from varco_domain._errors import ModelDefinitionError
from varco_domain._fields import FieldMeta
from varco_domain._hints import ForeignKey, table_name
from varco_domain._parsed import ParsedMeta, unique_fields

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
    """Refuse a foreign key to a model, given as a class, that has no such field to refer to.

    Raises:
        ModelDefinitionError: It names the field.
    """
    key = field.foreign_key
    target: ParsedMeta | None = getattr(key and key.reference, "__varco_meta__", None)
    # What is not read yet is looked at when there are tables.
    if key is not None and target is not None and target.entity_cls is key.reference:
        check_target(cls, field, key, target)


def check_target(cls: type, field: FieldMeta, key: ForeignKey, target: ParsedMeta) -> None:
    """Refuse a foreign key to what the other model has not, stores as another kind, or repeats.

    Raises:
        ModelDefinitionError: It names the field.
    """
    other: Any = target.entity_cls
    name = key.field
    if name == "pk" and not target.is_composite_pk:
        name = target.pk_fields[0]
    found = target.fields.get(name)
    problem: str | None = None
    if found is None:
        known = ", ".join(target.fields)
        problem = f"{other.__name__} has no field {key.field!r}; it has {known}"
    elif found.kind is not field.kind:
        problem = (
            f"it is stored as {field.kind}, and {other.__name__}.{name}, which it refers to, as "
            f"{found.kind}"
        )
    elif target.pk_fields != (name,) and (
        target.deleted_at_field is not None
        or not any(group == (name,) for group, _ in unique_fields(target))
    ):
        problem = (
            f"it refers to {other.__name__}.{name}, which is not unique among all rows (of a model "
            "with soft deletion only those that live are); refer to the primary key"
        )
    if problem is not None:
        raise ModelDefinitionError(cls.__name__, field.name, problem)
