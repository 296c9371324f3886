"""Between entities and rows."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from decimal import Decimal
from enum import Enum
from typing import Any, Final

from varco_domain.backend import FieldKind, FieldMeta, json_codec, load_entity, load_rows
from varco_domain.exception import ModelValueError, StoredValueError
from varco_domain.model import DomainModel
from varco_domain.validation import ValidationError
from varco_sa._mapped_types import MappedMember
from varco_sa._tables import EntityTable
from varco_sa._types import Choice, JsonText

type Codec = tuple[Callable[[Any], Any] | None, Callable[[Any], Any]]

# A string, which is left alone, or a number with an exponent.
_EXPONENTS: Final = re.compile(r'"(?:[^"\\]|\\.)*"|-?[\d.]+e\+\d+')


class RowMapper:
    """Makes entities of rows and rows of entities.

    `entity.raw()` is the row it was loaded from or stored as: what a later save compares with.
    In it enum members are their values and JSON is text.
    Has no state that changes; shared by all units of work.
    """

    def __init__(self, entity: EntityTable) -> None:
        self._meta = entity.meta
        self._names: tuple[str, ...] = tuple(entity.meta.fields)
        codecs = {
            name: _codec(field, entity.columns[name].type)
            for name, field in entity.meta.fields.items()
        }
        self._reads = {name: codec[1] for name, codec in codecs.items() if codec is not None}
        self._writes = {
            name: codec[0] for name, codec in codecs.items() if codec is not None and codec[0]
        }
        self._json = frozenset(
            name
            for name in entity.meta.mutable_fields
            if isinstance(entity.columns[name].type, JsonText)
        )
        self._keeps = entity.keeps

    def load(self, rows: Iterable[Any]) -> list[Any]:
        """The entities of rows, whose columns are in the order of the fields.

        Raises:
            StoredValueError: A row holds a value that its field does not have any more.
        """
        found = load_rows(self._meta, rows)
        for name, read in self._reads.items():
            for entity in found:
                values = entity.__dict__
                try:
                    values[name] = read(values[name])
                except Exception:  # noqa: BLE001  # whatever a type's own validator raises
                    key = entity.stored_key
                    raise StoredValueError(self._meta.entity_cls, key, name) from None
        return found

    def stored(self, row: dict[str, Any], parameters: Mapping[str, Any]) -> Any:
        """The entity of a row that has been written.

        Args:
            row: All fields; belongs to the entity afterwards.
            parameters: The same as it was written.
        """
        return load_entity(self._meta, row, tuple(parameters[name] for name in self._names))

    def parameters(self, row: dict[str, Any]) -> dict[str, Any]:
        """All or some fields as they are written: JSON as text, enum members as their values.

        It is the row itself when nothing has to be another. Values of the row become what a mapped
        column keeps of them.

        Raises:
            ModelValueError: A mapped column does not keep a value.
        """
        if self._keeps:
            self._fit(row)
        if not self._writes:
            return row
        found = dict(row)
        for name, write in self._writes.items():
            if found.get(name) is not None:
                found[name] = write(found[name])
        return found

    def _fit(self, row: dict[str, Any]) -> None:
        problems: list[ValidationError] = []
        for name, keep in self._keeps.items():
            if row.get(name) is not None:
                try:
                    row[name] = keep(row[name])
                except ValueError as error:
                    problems.append(ValidationError(str(error), name))
        if problems:
            first, *others = problems
            model = self._meta.entity_cls.__name__
            raise ModelValueError(model, first.field or "", first.message, *others)

    def loaded(self, entity: DomainModel) -> dict[str, Any]:
        """The row that an entity was loaded from, as it was written; empty if it is not known."""
        try:
            raw: Any = entity.raw()
        except LookupError:
            return {}
        if not (raw.__class__ is tuple or hasattr(raw, "_fields")):
            return {}
        return dict(zip(self._names, raw, strict=True))

    def changes(self, loaded: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
        """What of a row differs from the one the entity was loaded from; all if it was not."""
        if not loaded:
            return dict(parameters)
        changed: dict[str, Any] = {}
        for name, old in loaded.items():
            new = parameters[name]
            if new is old:
                continue
            if name in self._json:
                # Engines write JSON in their own way.
                if new is None or old is None or json.loads(new) != json.loads(old):
                    changed[name] = new
            elif new != old or new.__class__ is not old.__class__:
                changed[name] = new
        return changed


def _codec(field: FieldMeta, column_type: Any) -> Codec | None:
    """How values of a field are written and read, where the column's type does not do it."""
    if field.kind is FieldKind.JSON and not isinstance(column_type, JsonText):
        dump, load = json_codec(field)
        # A type of the application's own; what it gave stays what it was.
        return dump, lambda data: load(deepcopy(data))
    if field.kind is FieldKind.JSON:
        return _json_text(field)
    if isinstance(column_type, MappedMember):
        names = {member: name for name, member in column_type.pairs}
        members: dict[Any, Any] = {None: None, **column_type.members}
        return names.__getitem__, members.__getitem__
    if isinstance(column_type, Choice):
        return _value_of, _Members(column_type.enum).__getitem__
    if field.kind is FieldKind.LITERAL:
        return None, {None: None, **{value: value for value in field.choices}}.__getitem__
    return None


def _value_of(member: Enum) -> Any:
    return member.value


class _Members(dict[Any, Any]):
    """The members of an enum by value; those that are combined, or missing, the enum makes."""

    def __init__(self, enum: type[Enum]) -> None:
        super().__init__({None: None, **{member.value: member for member in enum}})
        self._enum = enum

    def __missing__(self, value: Any) -> Any:
        return self._enum(value)


def _json_text(field: FieldMeta) -> Codec:
    dump, load = json_codec(field)

    def write(value: Any) -> str:
        text = json.dumps(dump(value), ensure_ascii=False)
        # PostgreSQL takes 1e+22 for the int that it is.
        return _EXPONENTS.sub(_plain, text) if "e+" in text else text

    def read(text: Any) -> Any:
        return load(text) if text is None else load(json.loads(text))

    return write, read


def _plain(found: re.Match[str]) -> str:
    text = found[0]
    return text if text[0] == '"' else f"{Decimal(text):f}.0"
