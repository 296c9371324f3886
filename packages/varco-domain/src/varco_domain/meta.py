"""What a model declares, read once per class: table, fields, keys, constraints, roles."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Any, cast

from varco_domain._fields import FieldKind, FieldMeta, unwrap
from varco_domain._hints import (
    CheckConstraint,
    FieldHint,
    FieldRole,
    ForeignKey,
    ManyToMany,
    PKStrategy,
    PrimaryKey,
    Relationship,
    UniqueConstraint,
    pk_field,
)

__all__ = (
    "CheckConstraint",
    "FieldHint",
    "FieldKind",
    "FieldMeta",
    "FieldRole",
    "ForeignKey",
    "ManyToMany",
    "MetaReader",
    "PKStrategy",
    "ParsedMeta",
    "PrimaryKey",
    "Relationship",
    "UniqueConstraint",
    "pk_field",
)

# Protects the per-class slot __varco_meta__, so that a class is parsed once.
_LOCK = RLock()


@dataclass(frozen=True, slots=True)
class ParsedMeta:
    """All that a model class declares.

    ``resource`` is the name that grants use: ``Meta.resource``, or else the table. ``fields`` has
    the key first, then the model's own fields, then those the library keeps. ``pk_fields`` has one
    name, or several for a composite key. ``match_fields`` are what an UPDATE or DELETE has to match
    besides the key, with the entity's values: version and tenant.
    ``keyed_fields`` are what an index or a constraint holds. ``storable`` has of each field its
    name, whether a value is required, and what checks one (see ``mapper.insert_values``).
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

    @property
    def is_composite_pk(self) -> bool:
        """Whether the key has more than one field; ``pk`` is then a tuple."""
        return len(self.pk_fields) > 1

    @property
    def composite_pk_fields(self) -> list[str]:
        """The fields of a composite key; empty for a single one."""
        return list(self.pk_fields) if self.is_composite_pk else []

    @property
    def system_fields(self) -> frozenset[str]:
        """Fields that callers never write: generated keys and every field with a role."""
        names = {name for name, field in self.fields.items() if field.role is not None}
        if self.pk_strategy.is_generated and not self.is_composite_pk:
            names.update(self.pk_fields)
        return frozenset(names)

    def pk_values(self, pk: Any) -> tuple[Any, ...]:
        """Return a key as a tuple that lines up with ``pk_fields``.

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


class MetaReader:
    """Reads a model's declaration, once per class.

    Safe to use from several threads: the result is written under a lock and never changes.
    """

    @staticmethod
    def read(domain_cls: type) -> ParsedMeta:
        """Return the metadata of a model class.

        Raises:
            ModelDefinitionError: The declaration is wrong, or a type name cannot be resolved.
        """
        meta: ParsedMeta | None = domain_cls.__dict__.get("__varco_meta__")
        if meta is not None:
            return meta
        with _LOCK:
            meta = domain_cls.__dict__.get("__varco_meta__")
            if meta is None:
                from varco_domain._parse import parse  # noqa: PLC0415 - it imports this module

                meta = parse(domain_cls, None)
                type.__setattr__(domain_cls, "__varco_meta__", meta)
        return meta

    @staticmethod
    def extract_inner_type(annotation: Any) -> tuple[Any, bool]:
        """Return the type inside ``Annotated`` and ``| None``, and whether it was optional."""
        bare, optional, _ = unwrap(annotation)
        return bare, optional

    @staticmethod
    def domain_fields(domain_cls: type) -> list["dataclasses.Field[Any]"]:
        """Return the dataclass fields of a model in order of declaration."""
        return list(dataclasses.fields(domain_cls))
