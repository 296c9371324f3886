"""All that a model declares, as it was read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from varco_domain._fields import FieldMeta
from varco_domain._hints import (
    CheckConstraint,
    ForeignKey,
    ManyToMany,
    PKStrategy,
    Relationship,
    UniqueConstraint,
)


@dataclass(frozen=True, slots=True)
class ParsedMeta:
    """All that a model class declares.

    `resource` is the name that grants use: `Meta.resource`, or else the table. `fields` has
    the key first, then the model's own fields, then those the library keeps. `pk_fields` has one
    name, or several for a composite key. `match_fields` are what an UPDATE or DELETE has to match
    besides the key, with the entity's values: version and tenant.
    `keyed_fields` are what an index or a constraint holds. `storable` has of each field its
    name, whether a value is required, and what checks one (see `mapper.insert_values`).
    """

    entity_cls: type
    table: str
    fields: Mapping[str, FieldMeta]
    pk_fields: tuple[str, ...]
    pk_strategy: PKStrategy
    pk_type: Any
    foreign_keys: Mapping[str, ForeignKey]
    constraints: tuple[UniqueConstraint | CheckConstraint, ...]
    relationships: tuple[Relationship, ...]
    many_to_many: tuple[ManyToMany, ...]
    version_field: str | None = None
    created_at_field: str | None = None
    updated_at_field: str | None = None
    tenant_field: str | None = None
    deleted_at_field: str | None = None
    abstract: bool = False
    resource: str = ""
    mutable_fields: tuple[str, ...] = ()
    match_fields: tuple[str, ...] = ()
    keyed_fields: frozenset[str] = frozenset()
    storable: tuple[tuple[str, bool, Callable[[Any], Any]], ...] = ()
    is_composite_pk: bool = field(init=False)
    """Whether the key has more than one field; `pk` is then a tuple."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_composite_pk", len(self.pk_fields) > 1)

    @property
    def composite_pk_fields(self) -> list[str]:
        """The fields of a composite key; empty for a single one."""
        return list(self.pk_fields) if self.is_composite_pk else []

    @property
    def system_fields(self) -> frozenset[str]:
        """Fields that callers never write: generated keys and every field with a role."""
        names = {name for name, each in self.fields.items() if each.role is not None}
        if self.pk_strategy.is_generated and not self.is_composite_pk:
            names.update(self.pk_fields)
        return frozenset(names)

    def pk_values(self, pk: Any) -> tuple[Any, ...]:
        """A key as a tuple that lines up with `pk_fields`.

        Raises:
            ValueError: A composite key is not a tuple of the right length.
        """
        if not self.is_composite_pk:
            return (pk,)
        values = tuple(cast("Sequence[Any]", pk)) if isinstance(pk, (tuple, list)) else ()
        if len(values) != len(self.pk_fields):
            raise ValueError(
                f"the key of {self.entity_cls.__name__} is a tuple "
                f"({', '.join(self.pk_fields)}), got {pk!r}"
            )
        return values

    def pk_of(self, values: Mapping[str, Any]) -> Any:
        """Take the key out of a row."""
        if self.is_composite_pk:
            return tuple(values[name] for name in self.pk_fields)
        return values[self.pk_fields[0]]


def unique_fields(meta: ParsedMeta) -> list[tuple[tuple[str, ...], str | None]]:
    """The fields that are unique together, the key aside, with the names of constraints."""
    groups: list[tuple[tuple[str, ...], str | None]] = [
        ((name,), None) for name, each in meta.fields.items() if each.hint.unique
    ]
    groups += [
        (each.fields, each.name) for each in meta.constraints if isinstance(each, UniqueConstraint)
    ]
    return groups
