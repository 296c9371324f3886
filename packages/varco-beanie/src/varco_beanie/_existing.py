"""Models on collections that exist: those of beanie's documents."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final, cast, get_args, get_origin
from uuid import UUID

from beanie import BackLink, Document, Link
from bson import ObjectId
from pymongo import IndexModel

from varco_beanie._codecs import OBJECT_ID, SECONDS, Codec, codec_of, only_plain
from varco_beanie._collections import KEY, EntityCollection
from varco_beanie._filters import Filters
from varco_beanie._indexes import KEY_INDEX
from varco_domain.backend import FieldKind, FieldMeta, MetaReader, ParsedMeta
from varco_domain.exception import RepositoryClassCreationFailed
from varco_domain.model import DomainModel

# The first that a class is one of tells what a document holds.
_NUMBERS: Final = (bool, int, float, Decimal)
_SCALARS: Final = (*_NUMBERS, str, bytes, datetime, date, timedelta, UUID, ObjectId)


def map_existing(model: type[DomainModel], document_cls: type[Document]) -> EntityCollection:
    """The model on the collection of a document class, which has a field for each of its fields.

    Values are stored as beanie does it: moments to the millisecond, spans of time in seconds,
    identifiers of 24 hexadecimal digits as `ObjectId` where the document has them. Null is in no
    document.

    Raises:
        RepositoryClassCreationFailed: What varco writes would not be what beanie reads, or the
            other way round; it says of which field.
    """
    meta = MetaReader.read(model)
    found = _Reader(model, meta, document_cls)
    found.check_settings()
    codecs = {name: found.codec(field) for name, field in meta.fields.items()}
    paths = {name: found.path(name) for name in meta.fields}
    found.check_rest()
    fields = {path: name for name, path in paths.items()}
    about: dict[str, tuple[str, ...]] = {}
    for index in found.indexes():
        keys = tuple(fields.get(key, "") for key in index.document["key"])
        if index.document.get("unique") and all(keys):
            about[str(index.document["name"])] = keys
    return EntityCollection(
        model,
        meta,
        found.setting("name") or document_cls.__name__,
        paths,
        {},
        codecs,
        Filters(meta.table, paths, {}, codecs),
        (),
        {KEY_INDEX: meta.pk_fields, **about},
        (),
        (meta.pk_fields, *about.values()),
        existing=True,
    )


class _Reader:
    """What a document class says of the fields of a model."""

    def __init__(
        self, model: type[DomainModel], meta: ParsedMeta, document_cls: type[Document]
    ) -> None:
        self._model = model
        self._meta = meta
        self._cls = document_cls
        self._fields: Mapping[str, Any] = document_cls.model_fields

    def setting(self, name: str) -> Any:
        return getattr(getattr(self._cls, "Settings", None), name, None)

    def _failed(self, why: str) -> RepositoryClassCreationFailed:
        text = f"{self._cls.__name__} cannot hold {self._model.__name__}: {why}"
        return RepositoryClassCreationFailed(text, self._model)

    def check_settings(self) -> None:
        """Refuse what others would not be told of a write."""
        if self._meta.is_composite_pk:
            raise self._failed("its key is of several fields")
        if self.setting("use_revision"):
            raise self._failed("it uses revisions, which these writes would not change")
        if self.setting("is_root") or self.setting("union_doc") is not None:
            raise self._failed("its collection has documents of several classes")

    def _name(self, name: str) -> str:
        return "id" if (name,) == self._meta.pk_fields else name

    def path(self, name: str) -> str:
        own = self._name(name)
        return KEY if own == "id" else self._fields[own].alias or own

    def codec(self, field: FieldMeta) -> Codec:
        """How beanie writes and reads a field."""
        own = self._name(field.name)
        info = self._fields.get(own)
        if info is None:
            known = ", ".join(sorted(self._fields))
            raise self._failed(f"there is no field {own!r} for {field.name!r}; it has {known}")
        bare, _ = MetaReader.extract_inner_type(info.annotation)
        if field.nullable and info.is_required():
            raise self._failed(f"{own!r} may be missing, give it the default None")
        if not self._holds(field, bare):
            raise self._failed(f"{own!r} is {bare!r}, not {field.python_type.__name__}")
        if field.kind is FieldKind.STR and _is(bare, ObjectId):
            return OBJECT_ID
        if field.kind is FieldKind.TIMEDELTA:
            return SECONDS
        return only_plain(codec_of(field)) if field.kind is FieldKind.JSON else codec_of(field)

    def _holds(self, field: FieldMeta, bare: Any) -> bool:
        encoders = cast("Mapping[type, Any]", self.setting("bson_encoders") or {})
        parts = (get_origin(part) or part for part in (bare, *get_args(bare)))
        if any(_is(part, (Link, BackLink)) for part in parts) or field.python_type in encoders:
            return False
        if field.kind is FieldKind.TIME or (field.primary_key and _is(bare, datetime)):
            return False
        if _is(bare, Enum):
            return bare is field.python_type
        scalar = _scalar(bare)
        if scalar is _scalar(field.python_type) or field.kind in {
            FieldKind.ENUM,
            FieldKind.LITERAL,
        }:
            return True
        # Text in the model: identifiers, and types of pydantic that are text.
        return scalar in {ObjectId, None} and field.kind is FieldKind.STR

    def check_rest(self) -> None:
        """Refuse a document that beanie could not read without what the model lacks."""
        mapped = {self._name(name) for name in self._meta.fields}
        lacking = [
            name for name, info in self._fields.items() if name not in mapped and info.is_required()
        ]
        if lacking:
            raise self._failed(f"it requires {', '.join(lacking)}, which the model does not have")

    def indexes(self) -> Iterator[IndexModel]:
        """The indexes that the class declares."""
        for name, info in self._fields.items():
            for told in (info.annotation, *info.metadata):
                indexed = getattr(told, "_indexed", None)
                if indexed is not None:
                    way, options = indexed
                    yield IndexModel([(info.alias or name, way)], **options)
        for given in self.setting("indexes") or ():
            if isinstance(given, IndexModel):
                yield given
            else:
                yield IndexModel([(given, 1)] if isinstance(given, str) else given)


def _is(bare: Any, classes: type | tuple[type, ...]) -> bool:
    return isinstance(bare, type) and issubclass(bare, classes)


def _scalar(bare: Any) -> type | None:
    return next((each for each in _SCALARS if _is(bare, each)), None)
