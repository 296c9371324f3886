"""Between entities and rows."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from varco_domain.mapper import json_codec
from varco_domain.model import DomainModel
from varco_sa._tables import EntityTable


class RowMapper:
    """Makes entities of rows and rows of entities.

    ``entity.raw()`` is the row it was loaded from or stored as: what a later save compares with.
    Has no state that changes; shared by all units of work.
    """

    def __init__(self, entity: EntityTable) -> None:
        self.entity_cls: type[DomainModel] = entity.entity_cls
        self.names: tuple[str, ...] = tuple(entity.meta.fields)
        self._json: dict[str, tuple[Callable[[Any], str | None], Callable[[Any], Any]]] = {
            name: _text_codec(entity, name) for name in entity.meta.mutable_fields
        }

    def load(self, rows: Iterable[Any]) -> list[Any]:
        """The entities of rows, whose columns are in the order of the fields."""
        cls, names = self.entity_cls, self.names
        new = object.__new__
        found: list[Any] = []
        for row in rows:
            entity: Any = new(cls)
            values = dict(zip(names, row, strict=False))
            values["_raw_orm"] = row
            entity.__dict__ = values
            found.append(entity)
        if self._json:
            for entity in found:
                values = entity.__dict__
                for name, (_, read) in self._json.items():
                    values[name] = read(values[name])
        return found

    def stored(self, row: dict[str, Any], parameters: Mapping[str, Any]) -> Any:
        """The entity of a row that has been written.

        Args:
            row: All fields; belongs to the entity afterwards.
            parameters: The same as it was written.
        """
        for name, (_, read) in self._json.items():
            # The entity shares nothing with the one that was given.
            row[name] = read(parameters[name])
        entity: Any = object.__new__(self.entity_cls)
        row["_raw_orm"] = tuple(parameters[name] for name in self.names)
        entity.__dict__ = row
        return entity

    def parameters(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row as it is written: JSON as text."""
        if not self._json:
            return row
        return {**row, **{name: dump(row[name]) for name, (dump, _) in self._json.items()}}

    def partial(self, update: Mapping[str, Any]) -> dict[str, Any]:
        """Some fields as they are written."""
        return {
            name: self._json[name][0](value) if name in self._json else value
            for name, value in update.items()
        }

    def changes(self, entity: DomainModel, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """What of a row differs from the one the entity was loaded from; all if it was not."""
        raw: Any = getattr(entity, "_raw_orm", None)
        if not isinstance(raw, tuple) and not hasattr(raw, "_fields"):
            return dict(parameters)
        changed: dict[str, Any] = {}
        for name, old in zip(self.names, cast("Iterable[Any]", raw), strict=True):
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


def _text_codec(
    entity: EntityTable, name: str
) -> tuple[Callable[[Any], str | None], Callable[[Any], Any]]:
    dump, load = json_codec(entity.meta.fields[name])

    def write(value: Any) -> str | None:
        return None if value is None else json.dumps(dump(value), ensure_ascii=False)

    def read(text: Any) -> Any:
        return None if text is None else load(json.loads(text))

    return write, read
