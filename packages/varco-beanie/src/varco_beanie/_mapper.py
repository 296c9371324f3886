"""Between entities and documents."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from varco_beanie._codecs import finer, of_document, same_json
from varco_beanie._collections import KEY, EntityCollection
from varco_domain import ValidationError
from varco_domain.backend import load_entity
from varco_domain.exception import ModelValueError, StoredValueError
from varco_domain.model import DomainModel

type Document = dict[str, Any]


class DocumentMapper:
    """Makes entities of documents and documents of entities.

    `entity.raw()` is the document it was loaded from or stored as: what a later save compares
    with. Null is in no document. Has no state that changes; shared by all units of work.
    """

    def __init__(self, entity: EntityCollection) -> None:
        meta = entity.meta
        self._meta = meta
        self._entity = entity
        self._single_key = not meta.is_composite_pk
        self._keys = [(name, entity.codecs[name].write) for name in meta.pk_fields]
        self._writes: list[tuple[str, str, Callable[[Any], Any], str | None]] = [
            (name, entity.paths[name], entity.codecs[name].write, entity.finer.get(name))
            for name in meta.fields
            if name not in meta.pk_fields
        ]
        # What comes back of them may be less than what was given.
        self._rounded = [
            name
            for name, codec in entity.codecs.items()
            if codec.moment and name not in entity.finer
        ]
        self._json = {entity.paths[name] for name in meta.mutable_fields}
        self._reads: list[tuple[str, str, type | None, Callable[[Any], Any], str | None, bool]] = [
            (
                name,
                entity.paths[name],
                entity.codecs[name].exact,
                entity.codecs[name].read,
                entity.finer.get(name),
                each.nullable,
            )
            for name, each in meta.fields.items()
        ]

    def load(self, documents: Iterable[Document]) -> list[Any]:
        """The entities of documents.

        Raises:
            StoredValueError: A document lacks a value, or holds one that its field does not have.
        """
        meta, reads, composite = self._meta, self._reads, not self._single_key
        found: list[Any] = []
        for document in documents:
            row: dict[str, Any] = {}
            get = document.get
            for name, path, exact, read, below, nullable in reads:
                value = get(path)
                if value is None:
                    value = of_document(document, path) if composite else None
                    if value is None:
                        if not nullable:
                            raise StoredValueError(meta.entity_cls, get(KEY), name)
                        row[name] = None
                        continue
                if value.__class__ is exact:
                    row[name] = value
                    continue
                try:
                    value = read(value)
                    if below is not None and below in document:
                        value = value.replace(microsecond=value.microsecond + document[below])
                except Exception:  # noqa: BLE001  # whatever a type's own validator raises
                    raise StoredValueError(meta.entity_cls, document.get(KEY), name) from None
                row[name] = value
            found.append(load_entity(meta, row, document))
        return found

    def stored(self, row: dict[str, Any], document: Document) -> Any:
        """The entity of a row that has been written.

        Args:
            row: All fields; belongs to the entity afterwards.
            document: The same as it was written.
        """
        if self._json:
            # What the document holds is not shared with whoever saved it.
            for name in self._meta.mutable_fields:
                row[name] = self.value(name, document)
        for name in self._rounded:
            row[name] = self.value(name, document)
        return load_entity(self._meta, row, document)

    def value(self, name: str, document: Document) -> Any:
        """The value of a field in a document."""
        found = of_document(document, self._entity.paths[name])
        if found is None:
            return None
        codec = self._entity.codecs[name]
        read: Any = codec.read(found) if found.__class__ is not codec.exact else found
        below = document.get(self._entity.finer.get(name, ""))
        return read if below is None else read.replace(microsecond=read.microsecond + below)

    def key(self, row: Mapping[str, Any]) -> Any:
        """What a document holds as its key.

        Raises:
            ModelValueError: MongoDB cannot keep it.
        """
        if self._single_key:
            name, write = self._keys[0]
            try:
                return write(row[name])
            except ValueError as error:
                model = self._meta.entity_cls.__name__
                raise ModelValueError(model, name, str(error)) from None
        return {name: write(row[name]) for name, write in self._keys}

    def values(self, row: Mapping[str, Any]) -> Document:
        """What a document holds of the fields of a row, those of the key and null aside.

        Raises:
            ModelValueError: MongoDB cannot keep some values; it names their fields.
        """
        found: Document = {}
        problems: list[ValidationError] = []
        for name, path, write, below in self._writes:
            value = row.get(name)
            if value is None:
                continue
            try:
                found[path] = write(value)
            except ValueError as error:
                problems.append(ValidationError(str(error), name))
                continue
            if below is not None and (rest := finer(value)) is not None:
                found[below] = rest
        if problems:
            (first, *others), model = problems, self._meta.entity_cls.__name__
            raise ModelValueError(model, first.field or "", first.message, *others)
        return found

    def document(self, row: Mapping[str, Any]) -> Document:
        """The document of a row."""
        return {KEY: self.key(row), **self.values(row)}

    def places(self, names: Iterable[str]) -> list[str]:
        """The places in a document that fields take."""
        return [path for path, _ in self._entity.sort_keys(names)]

    def loaded(self, entity: DomainModel) -> Document:
        """The document that an entity was loaded from; empty if it is not known."""
        try:
            raw: Any = entity.raw()
        except LookupError:
            return {}
        return raw if raw.__class__ is dict else {}

    def changes(
        self, loaded: Document, document: Document, fixed: Iterable[str]
    ) -> tuple[Document, Document]:
        """What to set of a document and what to take out; all of it if it was not loaded."""
        kept = {KEY, *fixed}
        places = self.places(name for name, *_ in self._writes)
        new = {path: document[path] for path in places if path in document and path not in kept}
        gone = {path: "" for path in places if path not in document and path not in kept}
        if not loaded:
            return new, gone
        changed = {
            path: value for path, value in new.items() if not self._same(path, value, loaded)
        }
        return changed, {path: "" for path in gone if loaded.get(path) is not None}

    def _same(self, path: str, value: Any, loaded: Document) -> bool:
        if path not in loaded:
            return False
        old = loaded[path]
        return same_json(value, old) if path in self._json else bool(value == old)
