"""Collections from the metadata of the models."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pymongo import ASCENDING, IndexModel

from varco_beanie._codecs import FINER, Codec, codec_of
from varco_beanie._filters import Filters
from varco_beanie._indexes import KEY_INDEX, Index
from varco_domain.backend import (
    FieldKind,
    MetaReader,
    ParsedMeta,
    check_condition,
    unique_fields,
)
from varco_domain.exception import FieldNotFound, RepositoryClassCreationFailed
from varco_domain.meta import CheckConstraint
from varco_domain.model import DomainModel
from varco_query import NotNode

KEY: Final = "_id"
HELD: Final = "varco:held"
"""What a row counts that refers to another, so that the two conflict with its removal."""

_DATES: Final = frozenset({FieldKind.DATETIME, FieldKind.DATE})

_log = logging.getLogger("varco_beanie")


@dataclass(frozen=True, slots=True)
class EntityCollection:
    """A model and its collection.

    Attributes:
        model: The model.
        meta: What it declares.
        name: The collection's name.
        paths: Field name to its place in a document, in order of the fields.
        finer: Of moments, the place of the digits below the millisecond; none where a document
            that others have declared keeps milliseconds.
        codecs: Field name to how its values are written and read.
        filters: Compiles queries.
        indexes: What is made besides the key's.
        index_fields: Name of a unique index to the fields it is about.
        checks: Names of check constraints, and the filters of documents that break them.
        uniques: The groups of fields that are unique together, the key included.
        existing: Whether others have made it, with its indexes and validator.
    """

    model: type[DomainModel]
    meta: ParsedMeta
    name: str
    paths: Mapping[str, str]
    finer: Mapping[str, str]
    codecs: Mapping[str, Codec]
    filters: Filters
    indexes: tuple[IndexModel, ...]
    index_fields: Mapping[str, tuple[str, ...]]
    checks: tuple[tuple[str, dict[str, Any]], ...]
    uniques: tuple[tuple[str, ...], ...]
    existing: bool = False

    @property
    def validator(self) -> dict[str, Any]:
        """What the server lets no document break; empty if there is nothing."""
        return {"$nor": [broken for _, broken in self.checks]} if self.checks else {}

    def sort_keys(self, fields: Iterable[str], direction: int = ASCENDING) -> list[tuple[str, int]]:
        """The places of fields, in the order that sorts and indexes take them."""
        keys: list[tuple[str, int]] = []
        for name in fields:
            keys.append((self.paths[name], direction))
            if name in self.finer:
                keys.append((self.finer[name], direction))
        return keys


def build_collection(model: type[DomainModel], more: Sequence[Index] = ()) -> EntityCollection:
    """The collection of a model.

    Args:
        model: The model.
        more: The indexes besides those that it declares.

    Raises:
        RepositoryClassCreationFailed: The model is abstract, or an index is not one of it.
    """
    meta = MetaReader.read(model)
    if meta.abstract:
        raise RepositoryClassCreationFailed(
            f"{model.__name__} is an abstract base and has no collection", model
        )
    paths = {name: name for name in meta.fields}
    for name in meta.pk_fields:
        paths[name] = f"{KEY}.{name}" if meta.is_composite_pk else KEY
    finer = {
        name: f"{paths[name]}{FINER}" for name, each in meta.fields.items() if codec_of(each).moment
    }
    codecs = {name: codec_of(each) for name, each in meta.fields.items()}
    filters = Filters(meta.table, paths, finer, codecs)
    entity = EntityCollection(
        model,
        meta,
        meta.table,
        paths,
        finer,
        codecs,
        filters,
        (),
        {},
        _checks(meta, filters),
        (meta.pk_fields, *(fields for fields, _ in unique_fields(meta))),
    )
    indexes, about = _indexes(entity, more)
    return replace(entity, indexes=indexes, index_fields={KEY_INDEX: meta.pk_fields, **about})


def _indexes(
    entity: EntityCollection, more: Sequence[Index]
) -> tuple[tuple[IndexModel, ...], dict[str, tuple[str, ...]]]:
    """The indexes of a model, and what the unique ones among them are about."""
    meta = entity.meta
    soft = meta.deleted_at_field
    found: list[IndexModel] = []
    about: dict[str, tuple[str, ...]] = {}
    for fields, given in unique_fields(meta):
        if fields == meta.pk_fields:
            continue
        name = given or "_".join(("uq", meta.table, *fields))
        about[name] = fields
        # Null is in no document, and no row that has it is another's twin.
        partial: dict[str, Any] = {
            entity.paths[each]: {"$exists": True} for each in fields if meta.fields[each].nullable
        }
        if soft is not None:
            partial[entity.paths[soft]] = None
        options: dict[str, Any] = {"partialFilterExpression": partial} if partial else {}
        found.append(IndexModel(entity.sort_keys(fields), name=name, unique=True, **options))
    for field, each in meta.fields.items():
        covered = each.hint.unique or meta.pk_fields == (field,)
        if (each.hint.index or field in meta.foreign_keys) and not covered:
            name = f"ix_{meta.table}_{field}"
            found.append(IndexModel(entity.sort_keys((field,)), name=name))
    for wanted in more:
        index = _index(entity, wanted)
        if any(index.document["key"] == other.document["key"] for other in found):
            raise RepositoryClassCreationFailed(
                f"{entity.model.__name__} declares an index of {', '.join(wanted.fields)} already; "
                "take it out of the model, or leave this one out",
                entity.model,
            )
        found.append(index)
    return tuple(found), about


def _index(entity: EntityCollection, index: Index) -> IndexModel:
    """An index as PyMongo makes it."""
    meta = entity.meta
    for name in index.fields:
        if name not in meta.fields:
            raise FieldNotFound(name, meta.table)
    if index.expire_after is None:
        name = index.name or "_".join(("ix", meta.table, *index.fields))
        return IndexModel(entity.sort_keys(index.fields), name=name)
    (field,) = index.fields
    if meta.fields[field].kind not in _DATES or field in meta.pk_fields:
        raise RepositoryClassCreationFailed(
            f"{entity.model.__name__}.{field} is no moment by which documents can expire; "
            "give a datetime or date that is no key",
            entity.model,
        )
    return IndexModel(
        [(entity.paths[field], ASCENDING)],  # to the millisecond: the server takes one field
        name=index.name or f"ttl_{meta.table}_{field}",
        expireAfterSeconds=index.expire_after,
    )


def _checks(meta: ParsedMeta, filters: Filters) -> tuple[tuple[str, dict[str, Any]], ...]:
    found: list[tuple[str, dict[str, Any]]] = []
    for each in meta.constraints:
        if not isinstance(each, CheckConstraint):
            continue
        node = check_condition(meta, each)
        if node is None:
            _log.warning(
                "%s: the check %r is not in the query language and is not enforced by MongoDB",
                meta.entity_cls.__name__,
                each.condition,
            )
            continue
        found.append((each.name or each.condition, filters.compile(NotNode(node))))
    return tuple(found)
