"""Which entries of the outbox may be claimed: the first ones, and of each key from its first on."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import batched
from typing import Any

import sqlalchemy as sa

from varco_sa._dialects import dialect_of
from varco_sa._system_tables import LINE, READY

# How many rows are looked at together when those looked at first were behind others, and how often
# before others get their turn to write.
_MANY = 1000
_LOOKS = 5


class Line:
    """One look at the outbox, in the transaction that leases what it finds.

    An entry that is behind another of its key, which is in hand or postponed, is noted to be
    `behind` that one; no claim looks at it again before whoever removes that one has removed the
    note. It notes only what is behind an entry that it locks: the other is removed either before,
    or by somebody who sees the note.
    """

    def __init__(
        self,
        connection: sa.Connection,
        table: sa.Table,
        columns: Sequence[sa.Column[Any]],
        now: datetime,
        limit: int,
        seen: int = 0,
    ) -> None:
        self._connection = connection
        self._table = table
        self._limit = limit
        self._now = now
        dialect = self._dialect = dialect_of(connection.dialect)
        # Where a subquery cannot, statements of their own look for what is before a row.
        self._row_by_row = dialect.row_by_row
        self._asks_by_key = not dialect.ranges_in_subqueries
        last = sa.null() if self._asks_by_key else _last_before(table, dialect.rows_in_order)
        free: sa.Select[Any] = (
            sa.select(*columns, table.c.seq, last.label("last_before"))
            .where(
                table.c.parked == sa.false(),
                sa.or_(table.c.leased_until.is_(None), table.c.leased_until <= now),
            )
            .with_for_update(skip_locked=True, of=table)
        )
        self._free: sa.Select[Any] = dialect.through(free, table, READY)
        self._taken: dict[int, Any] = {}
        self._noted = 0
        self.goes_on = False
        self.seen = seen

    def take(self) -> list[Any]:
        """The rows, locked and in order. If there are none and `goes_on`, look after `seen`."""
        table, limit = self._table, self._limit
        # In the order of the index, of which the first columns are the same in all rows: an engine
        # that does not know this would sort them.
        order = (table.c.parked, table.c.behind, table.c.available_at, table.c.seq)
        ready = self._free.where(table.c.behind.is_(None)).order_by(*order)
        due = table.c.available_at <= self._now
        self._look(ready.where(due), limit)
        ready, most = ready.where(table.c.available_at.is_(None)), limit
        for _ in range(_LOOKS):
            # An engine would walk through the table from a primary key on.
            further = ready.where(table.c.seq + 0 > self.seen) if self.seen else ready
            rows = self._look(further, most)
            if len(rows) < most or len(self._taken) >= limit:
                break
            self.seen, most = rows[-1].seq, _MANY
        else:
            self.goes_on = self._noted > 0
        heads = [row.seq for row in self._taken.values() if row.key is not None]
        room = limit - len(self._taken)
        if heads and room > 0:
            next_ones = self._free.where(
                table.c.behind.in_(heads), sa.or_(table.c.available_at.is_(None), due)
            )
            self._look(next_ones.order_by(table.c.seq), room)
        return [self._taken[place] for place in sorted(self._taken)][:limit]

    def _look(self, statement: sa.Select[Any], limit: int) -> Sequence[Any]:
        """Take the rows whose turn it is, and note which are behind others."""
        found = self._connection.execute(statement.limit(limit)).fetchall()
        rows = sorted(found, key=lambda row: row.seq)
        waiting: list[Any] = []
        before = self._before_by_key(rows) if self._asks_by_key else {}
        for row in rows:
            last = before.get(row.seq, row.last_before)
            if last is None or last in self._taken:
                self._taken[row.seq] = row
            else:
                before[row.seq] = last
                waiting.append(row)
        if waiting:
            self._put_behind(waiting, before)
        return rows

    def _before_by_key(self, rows: Sequence[Any]) -> dict[int, int]:
        """For each row that is not the first of its key, one that is before it."""
        table = self._table
        places: dict[str, list[int]] = {}
        for row in rows:
            if row.key is not None:
                places.setdefault(row.key, []).append(row.seq)
        before: dict[int, int] = {}
        for keys in batched(places, 100):
            of_key = self._dialect.through(sa.select(table.c.key, table.c.seq), table, LINE)
            first = [
                of_key.where(table.c.key == key, table.c.parked == sa.false())
                .order_by(table.c.seq)
                .limit(len(places[key]))
                for key in keys
            ]
            lines: dict[str, list[int]] = {key: [] for key in keys}
            found: Any = self._connection.execute(sa.union_all(*first))
            for key, place in found:
                lines[key].append(place)
            for key, line in lines.items():
                last: int | None = None
                for place, member in zip(places[key], sorted(line), strict=False):
                    if place != member and (last is None or last < member):
                        last = member
                    if last is not None:
                        before[place] = last
                    last = place
        return before

    def _put_behind(self, waiting: Sequence[Any], before: Mapping[int, int]) -> None:
        """Note behind which entry each of these is.

        Of a key as many behind one as a claim could take when that one is gone, and the others
        behind the last of these.
        """
        table, connection = self._table, self._connection
        own = {row.seq for row in waiting}
        others = {before[row.seq] for row in waiting} - own
        locked = set(
            connection.execute(
                sa.select(table.c.seq)
                .where(table.c.seq.in_(others), table.c.parked == sa.false())
                .with_for_update(skip_locked=True)
            ).scalars()
        )
        together = max(1, self._limit // len({row.key for row in waiting}))
        put: Counter[int] = Counter()
        newest: dict[str, int] = {}
        notes: dict[int, int] = {}
        for row in waiting:
            last = before[row.seq]
            behind = last if last in locked else newest.get(row.key)
            if behind is None:
                continue  # the one before is just being claimed or removed
            if put[behind] == together:
                behind = last
            put[behind] += 1
            newest[row.key] = behind
            notes[row.seq] = behind
        self._noted += len(notes)
        if notes and self._row_by_row:
            noted = table.update().where(table.c.seq.in_(notes))
            connection.execute(noted.values(behind=sa.case(notes, value=table.c.seq)))
        elif notes:
            noted = table.update().where(table.c.seq == sa.bindparam("place"))
            rows = [{"place": place, "before": behind} for place, behind in notes.items()]
            connection.execute(noted.values(behind=sa.bindparam("before")), rows)


def _last_before(table: sa.Table, rows_in_order: bool) -> sa.ScalarSelect[Any]:
    """The place of the row before one of the same key that is not parked, null without.

    An engine that thinks that most rows have the same key would look for it through the primary
    key, which the order of rows leaves it no choice for.
    """
    before = table.alias("before")
    of_key = sa.and_(before.c.key == table.c.key, before.c.parked == sa.false())
    if rows_in_order:
        row = (before.c.key, before.c.parked, before.c.seq)
        here = sa.tuple_(table.c.key, sa.false(), table.c.seq)
        last = sa.select(sa.case((of_key, before.c.seq))).where(sa.tuple_(*row) < here)
        last = last.order_by(*(column.desc() for column in row))
    else:
        last = sa.select(before.c.seq).where(of_key, before.c.seq < table.c.seq)
        last = last.order_by(before.c.seq.desc())
    return last.limit(1).scalar_subquery()
