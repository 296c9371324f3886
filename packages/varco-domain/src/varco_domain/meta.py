"""What a model declares, read once per class: table, fields, keys, constraints, roles."""

import dataclasses
from threading import RLock
from typing import Any

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
from varco_domain._parse import parse
from varco_domain._parsed import ParsedMeta

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


class MetaReader:
    """Reads a model's declaration, once per class.

    Safe to use from several threads: the result is written under a lock and never changes.
    """

    @staticmethod
    def read(domain_cls: type) -> ParsedMeta:
        """The metadata of a model class.

        Raises:
            ModelDefinitionError: The declaration is wrong, or a type name cannot be resolved.
        """
        cls: Any = domain_cls
        try:
            known: ParsedMeta = cls.__varco_meta__
        except AttributeError:
            pass
        else:
            if known.entity_cls is cls:  # and not that of a base
                return known
        with _LOCK:
            meta = domain_cls.__dict__.get("__varco_meta__")
            if meta is None:
                meta = parse(domain_cls, None)
                type.__setattr__(domain_cls, "__varco_meta__", meta)
        return meta

    @staticmethod
    def extract_inner_type(annotation: Any) -> tuple[Any, bool]:
        """The type inside `Annotated` and `| None`, and whether it was optional."""
        bare, optional, _ = unwrap(annotation)
        return bare, optional

    @staticmethod
    def domain_fields(domain_cls: type) -> list["dataclasses.Field[Any]"]:
        """The dataclass fields of a model in order of declaration."""
        return list(dataclasses.fields(domain_cls))
