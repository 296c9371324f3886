"""The uncommitted changes of one unit of work in memory."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

from varco_domain._memory_store import Row, Store, Table, referenced_field, visible
from varco_domain.exception import (
    CheckViolationError,
    EntityNotFound,
    ReferenceViolationError,
    StaleEntityError,
    StillReferencedError,
    UniqueViolationError,
)
from varco_domain.mapper import row_key
from varco_domain.model import DomainModel

type _Overlay = dict[Any, Row | None]

_UNCHANGED: Final = object()


class Changes:
    """Rows put on top of the committed ones, and what they were based on.

    Checks each change when it is made and all of them again at the commit, when others may have
    committed meanwhile. A row with a version is refused then if it changed; of one without, the
    last write wins, as in SQL's READ COMMITTED.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows: dict[Table, _Overlay] = {}
        self._bases: dict[Table, dict[Any, Row | None]] = {}
        # Which changed row has unique values; may be outdated, so the row is looked at as well.
        # What each change inside of a block replaced.
        self._undo: list[tuple[Table, Any, Any]] | None = None
        self._claims: dict[tuple[Table, tuple[str, ...]], dict[tuple[Any, ...], Any]] = {}

    def overlay(self, table: Table) -> _Overlay:
        """The changed rows of a table; None stands for a removed one."""
        return self._rows.get(table, {})

    def current(self, table: Table, key: Any) -> Row | None:
        """The row as this unit of work sees it."""
        overlay = self._rows.get(table)
        if overlay is not None and key in overlay:
            return overlay[key]
        return table.rows.get(key)

    @contextmanager
    def all_or_nothing(self) -> Generator[None]:
        """Undo what happened inside the block when it ends with an error."""
        outer, self._undo = self._undo, []
        try:
            yield
        except BaseException:
            for table, key, row in reversed(self._undo):
                if row is _UNCHANGED:
                    del self._rows[table][key], self._bases[table][key]
                else:
                    self._rows[table][key] = row
                    self._claim(table, key, row)
            raise
        else:
            if outer is not None:
                outer.extend(self._undo)
        finally:
            self._undo = outer

    def holder(self, table: Table, group: tuple[str, ...], row: Row) -> Row | None:
        """The row that has the same values of what is unique together, the key or others."""
        if group == table.meta.pk_fields:
            return self.current(table, table.meta.pk_of(row))
        values = table.unique_values(group, row)
        key = None if values is None else self._holder(table, group, values)
        return None if key is None else self.current(table, key)

    def matching(self, table: Table, entity: DomainModel) -> Row:
        """The row that an UPDATE or DELETE of the entity matches.

        Raises:
            StaleEntityError: It has another version, or is gone.
            EntityNotFound: It is gone or another tenant's, and the model has no version.
            ModelValueError: The entity has another key than it was loaded with.
        """
        meta = table.meta
        key = row_key(meta, entity)
        row = self.current(table, key)
        if row is None or any(row[n] != getattr(entity, n) for n in meta.match_fields):
            raise _missing(table, key, entity)
        return row

    def insert(self, table: Table, key: Any, row: Row) -> None:
        """Add a row."""
        if self.current(table, key) is not None:
            raise UniqueViolationError(table.meta.entity_cls, table.meta.pk_fields)
        self._check(table, key, row, None)
        self._put(table, key, row)

    def update(self, table: Table, key: Any, row: Row) -> None:
        """Replace a row."""
        self._check(table, key, row, self.current(table, key))
        self._put(table, key, row)

    def delete(self, table: Table, key: Any) -> None:
        """Remove a row and do to the rows that refer to it what their foreign keys say."""
        waiting = [(table, key)]
        while waiting:
            target, pk = waiting.pop()
            gone = self.current(target, pk)
            if gone is None:
                continue
            self._put(target, pk, None)
            for other, field, fk in self._store.referrers(target):
                value = gone[referenced_field(target, fk)]
                for row in list(visible(other, self.overlay(other))):
                    if row[field] != value:
                        continue
                    owner = other.meta.pk_of(row)
                    if fk.on_delete == "CASCADE":
                        waiting.append((other, owner))
                    elif fk.on_delete == "SET NULL":
                        self._put(other, owner, {**row, field: None})
                    else:
                        raise StillReferencedError(target.meta.entity_cls)

    def commit(self) -> None:
        """Check everything against what is committed by now, and apply it in one step."""
        changed = [(t, key, row) for t, rows in self._rows.items() for key, row in rows.items()]
        for table, key, row in changed:
            self._check_base(table, key, row)
        for table, key, row in changed:
            if row is None:
                self._check_unreferred(table, key)
            else:
                self._check(table, key, row, None)
        if len(changed) > 1:
            # Rows that go free their unique values for those that come.
            changed.sort(key=lambda change: change[2] is not None)
        for table, key, row in changed:
            table.put(key, row)
        self.clear()

    def clear(self) -> None:
        """Forget all changes."""
        self._rows.clear()
        self._bases.clear()
        self._claims.clear()

    def _put(self, table: Table, key: Any, row: Row | None) -> None:
        rows = self._rows.get(table)
        if rows is None:
            rows = self._rows[table] = {}
            self._bases[table] = {}
        if self._undo is not None:
            self._undo.append((table, key, rows.get(key, _UNCHANGED)))
        if key not in rows:
            self._bases[table][key] = table.rows.get(key)
        rows[key] = row
        if table.uniques:
            self._claim(table, key, row)

    def _claim(self, table: Table, key: Any, row: Row | None) -> None:
        for fields in table.uniques:
            values = None if row is None else table.unique_values(fields, row)
            if values is not None:
                self._claims.setdefault((table, fields), {})[values] = key

    def _check_base(self, table: Table, key: Any, row: Row | None) -> None:
        base, now = self._bases[table][key], table.rows.get(key)
        if now is base:
            return
        meta = table.meta
        if base is None:
            raise UniqueViolationError(meta.entity_cls, meta.pk_fields)
        if meta.version_field is not None:
            found = None if now is None else now[meta.version_field]
            raise StaleEntityError(meta.entity_cls, base[meta.version_field], found)
        if now is None and row is not None:
            raise EntityNotFound(key, meta.entity_cls)

    def _check(self, table: Table, key: Any, row: Row, before: Row | None) -> None:
        meta = table.meta
        for name, broken in table.checks:
            if broken(row):
                raise CheckViolationError(meta.entity_cls, None, name)
        for fields in table.uniques:
            values = table.unique_values(fields, row)
            if values is not None and self._holder(table, fields, values) not in {None, key}:
                raise UniqueViolationError(meta.entity_cls, fields)
        for field, fk in meta.foreign_keys.items():
            value = row[field]
            if value is None or (before is not None and before[field] == value):
                continue
            target = self._store.target(fk, meta)
            mine = None if meta.tenant_field is None else row[meta.tenant_field]
            own = target is table and value == row[referenced_field(table, fk)]
            if not own and not self._exists(target, fk, value, mine):
                raise ReferenceViolationError(meta.entity_cls, field)

    def _holder(self, table: Table, group: tuple[str, ...], values: tuple[Any, ...]) -> Any:
        """The key of the row with these values, None if there is none."""
        owner = table.index[group].get(values)
        overlay = self._rows.get(table, {})
        if owner is not None and owner not in overlay:
            return owner
        claimant = self._claims.get((table, group), {}).get(values)
        row = overlay.get(claimant)
        return claimant if row is not None and table.unique_values(group, row) == values else None

    def _exists(self, target: Table, fk: Any, value: Any, tenant: str | None) -> bool:
        """Tell whether a reference has a row, of the referring row's tenant when both have one."""
        field = referenced_field(target, fk)
        if target.meta.pk_fields == (field,):
            found = self.current(target, value)
            rows = [] if found is None else [found]
        else:
            rows = [r for r in visible(target, self.overlay(target)) if r[field] == value]
        theirs = target.meta.tenant_field
        if tenant is None or theirs is None:
            return bool(rows)
        return any(row[theirs] == tenant for row in rows)

    def _check_unreferred(self, table: Table, key: Any) -> None:
        gone = table.rows.get(key)
        if gone is None:
            return
        for other, field, fk in self._store.referrers(table):
            value = gone[referenced_field(table, fk)]
            if any(row[field] == value for row in visible(other, self.overlay(other))):
                raise StillReferencedError(table.meta.entity_cls)


def _missing(table: Table, pk: Any, entity: DomainModel) -> Exception:
    meta = table.meta
    if meta.version_field is not None:
        return StaleEntityError(meta.entity_cls, getattr(entity, meta.version_field))
    return EntityNotFound(pk, meta.entity_cls)
