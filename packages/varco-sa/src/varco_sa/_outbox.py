"""The outbox: events committed with the entities they are about."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from varco_events import OutboxEntry, OutboxRepository, parts_of_error
from varco_sa._dialects import begin_write, dialect_of
from varco_sa._envelopes import ENVELOPE, loaded, stored
from varco_sa._failures import exact_time
from varco_sa._line import Line
from varco_sa._notify import CHANNEL, Listener
from varco_sa._outbox_failures import OutboxFailures
from varco_sa._sessions import Transactions, store_time

if TYPE_CHECKING:
    from varco_sa._uow import SQLAlchemyUnitOfWork

_FIELDS = (
    "entry_id",
    "event_type",
    "channel",
    "payload",
    "created_at",
    "key",
    "attempts",
    "available_at",
    "last_error",
    "leased_until",
    *ENVELOPE,
)


# How many seconds what others removed may keep something waiting.
_LOST_EVERY = 60.0
_MANY = 1000


class SQLAlchemyOutbox(OutboxRepository):
    """The outbox as relays use it: every call is a transaction of its own.

    Any number of relays, in any number of processes, may share it. Claims lock rows and skip those
    that others hold (PostgreSQL, MariaDB), or hold the one lock of the database (SQLite). On
    PostgreSQL a commit wakes the relays of all processes through LISTEN and NOTIFY. Safe to use
    from several tasks.
    """

    def __init__(self, engine: AsyncEngine, table: sa.Table) -> None:
        self._transactions = Transactions(engine)
        self._table = table
        self._columns = [table.c[name] for name in _FIELDS]
        notifies = dialect_of(engine.dialect).notifies
        self._listener = Listener(engine, self.notify) if notifies else None
        insert: Any = table.insert()
        # What was notified is sent when the transaction commits.
        self._insert_one: Any = (
            insert.returning(sa.func.pg_notify(CHANNEL, "")) if notifies else insert
        )
        self._insert = insert
        self._wakes = sa.select(sa.func.pg_notify(CHANNEL, "")) if notifies else None
        self._looks_for_lost = 0.0

    def insert(self, connection: sa.Connection, entries: Sequence[OutboxEntry]) -> None:
        """Insert entries in their order, in the transaction of `connection`."""
        rows = [_row(entry) for entry in entries]
        if len(rows) == 1:
            connection.execute(self._insert_one, rows[0])
        elif rows:
            connection.execute(self._insert, rows)
            if self._wakes is not None:
                connection.execute(self._wakes)

    async def save(self, entry: OutboxEntry) -> None:
        """Store an entry in a transaction of its own."""
        await self.save_many([entry])

    async def save_many(self, entries: Sequence[OutboxEntry]) -> None:
        """Store entries in order, in a transaction of their own."""
        await self._transactions.run(lambda connection: self.insert(connection, entries))
        self.notify()

    async def get_pending(self, *, limit: int = 100) -> list[OutboxEntry]:
        """The oldest entries that are not parked."""
        return await self._select(parked=False, limit=limit)

    async def get_parked(self, *, limit: int = 100) -> list[OutboxEntry]:
        """The oldest entries that were put aside."""
        return await self._select(parked=True, limit=limit)

    async def _select(self, *, parked: bool, limit: int) -> list[OutboxEntry]:
        table = self._table
        statement = (
            sa.select(*self._columns)
            .where(table.c.parked == parked)
            .order_by(table.c.seq)
            .limit(limit)
        )
        return await self._transactions.run(
            lambda connection: [_entry(row) for row in connection.execute(statement)]
        )

    async def delete(self, entry_id: UUID) -> None:
        """Forget a delivered entry."""
        await self.delete_many([entry_id])

    async def delete_many(self, entry_ids: Sequence[UUID]) -> None:
        """Forget delivered entries; the next of their keys are claimed again."""
        await self._remove(self._table.c.entry_id.in_(entry_ids))

    async def acknowledge(self, entries: Sequence[OutboxEntry]) -> None:
        """Forget delivered entries, but none that another claim has by now."""
        await self._remove(self._of_claim(entries))

    def _of_claim(self, entries: Sequence[OutboxEntry]) -> sa.ColumnElement[bool]:
        """Which rows are these entries, and of the claim that they are from if that is known."""
        table, claims = self._table, {entry.claim_id for entry in entries}
        named = table.c.entry_id.in_([entry.entry_id for entry in entries])
        return named if None in claims else sa.and_(named, table.c.claim_id.in_(claims))

    async def _remove(self, named: sa.ColumnElement[bool]) -> None:
        await self._transactions.run(
            lambda connection: self._delete(connection, named), isolation="READ COMMITTED"
        )

    def _delete(self, connection: sa.Connection, named: sa.ColumnElement[bool]) -> None:
        table = self._table
        place = (table.c.seq, table.c.key)
        if connection.dialect.delete_returning:
            gone = connection.execute(table.delete().where(named).returning(*place)).fetchall()
        else:
            gone = connection.execute(sa.select(*place).where(named).with_for_update()).fetchall()
            connection.execute(table.delete().where(named))
        self._bring_forward(connection, [row.seq for row in gone if row.key is not None])

    def _bring_forward(self, connection: sa.Connection, gone: Sequence[int]) -> None:
        """Let claims look at what was behind entries that are gone."""
        if gone:
            table = self._table
            behind = table.update().where(table.c.behind.in_(gone))
            connection.execute(behind.values(behind=None))

    async def claim(self, *, limit: int = 100, lease: float = 30.0) -> list[OutboxEntry]:
        """Lease entries by the clock of the database, oldest first.

        Of each key none before its earlier ones. What is parked, postponed or behind such an entry
        of its key is not looked at, however much there is of it.
        """
        if time.monotonic() >= self._looks_for_lost:
            self._looks_for_lost = time.monotonic() + _LOST_EVERY
            await self._transactions.run(self._bring_lost_forward, isolation="READ COMMITTED")
        seen: int | None = 0
        batch: list[OutboxEntry] = []
        while not batch and seen is not None:
            batch, seen = await self._transactions.run(
                partial(self._claim, limit=limit, lease=timedelta(seconds=lease), seen=seen),
                isolation="READ COMMITTED",
            )
        return batch

    def _claim(
        self, connection: sa.Connection, *, limit: int, lease: timedelta, seen: int
    ) -> tuple[list[OutboxEntry], int | None]:
        """What was claimed of what comes after `seen`, and where to look on; None at the end."""
        begin_write(connection)
        now = store_time(connection)
        line = Line(connection, self._table, self._columns, now, limit, seen)
        found = line.take()
        batch = self.batch_of([_entry(row) for row in found])
        leased: dict[str, Any] = {"leased_until": now + lease, "claim_id": uuid4()}
        if batch:
            table = self._table
            values: dict[str, Any] = leased | {"behind": None}
            if batch[0].is_counted:  # and alone
                values["attempts"] = batch[0].attempts
            # A batch is the first of what could be claimed.
            first_ones = table.c.seq.in_([row.seq for row in found[: len(batch)]])
            connection.execute(table.update().where(first_ones).values(values))
        claimed = [replace(entry, **leased) for entry in batch]
        return claimed, line.seen if line.goes_on else None

    def _bring_lost_forward(self, connection: sa.Connection) -> None:
        """What is behind an entry that somebody else removed: an older version, or by hand."""
        begin_write(connection)
        table = self._table
        before = table.alias("before")
        waits = sa.exists().where(before.c.seq == table.c.behind, before.c.parked == sa.false())
        lost = sa.select(table.c.seq).where(table.c.behind.is_not(None), ~waits).limit(_MANY)
        while places := connection.execute(lost).scalars().all():
            found = table.update().where(table.c.seq.in_(places))
            connection.execute(found.values(behind=None))

    async def renew(self, entries: Sequence[OutboxEntry], *, lease: float = 30.0) -> None:
        """Hold claimed entries for longer, from now on by the clock of the database."""
        table, held = self._table, self._of_claim(entries)

        def renew(connection: sa.Connection) -> None:
            until = store_time(connection) + timedelta(seconds=lease)
            statement = table.update().where(held, table.c.leased_until.is_not(None))
            connection.execute(statement.values(leased_until=until))

        await self._transactions.run(renew)

    async def release(self, entries: Sequence[OutboxEntry]) -> None:
        """End leases; keep attempts, the time of the next one and the last error."""
        if entries:
            await self._note(entries)

    async def park(self, entry: OutboxEntry) -> None:
        """Keep an entry but never claim it again; the next of its key is claimed."""
        await self._note([entry], parked=True)

    async def _note(self, entries: Sequence[OutboxEntry], *, parked: bool = False) -> None:
        table = self._table
        noted = ("attempts", "available_at", "last_error")
        # Those that a claim gave are changed only while it holds them.
        by = (
            ("entry_id",) if None in {one.claim_id for one in entries} else ("entry_id", "claim_id")
        )
        rows = [
            {name: getattr(entry, name) for name in noted}
            | {"error_type": _error_type(entry, parked=parked)}
            | {f"old {name}": getattr(entry, name) for name in by}
            for entry in entries
        ]
        held = [
            table.c[name] == sa.bindparam(f"old {name}", type_=table.c[name].type) for name in by
        ]
        statement = (
            table.update()
            .where(*held)
            .values(
                leased_until=None,
                parked=parked,
                **{
                    name: sa.bindparam(name, type_=table.c[name].type)
                    for name in (*noted, "error_type")
                },
            )
        )

        def note(connection: sa.Connection) -> None:
            at = exact_time(connection) if parked else None
            connection.execute(statement.values(parked_at=at), rows)
            if parked:
                gone = sa.select(table.c.seq).where(
                    self._of_claim(entries), table.c.parked == sa.true()
                )
                places = connection.execute(gone).scalars()
                self._bring_forward(connection, places.all())

        await self._transactions.run(note, isolation="READ COMMITTED")

    def failures(self) -> OutboxFailures:
        """The parked entries and the held-back keys as operators see them."""
        columns = [*self._columns]
        return OutboxFailures(
            self._transactions, self._table, columns, _entry, self._insert_parked, self._wake
        )

    def _insert_parked(self, connection: sa.Connection, entry: OutboxEntry) -> None:
        aside = {
            "parked": True,
            "parked_at": exact_time(connection),
            "error_type": _error_type(entry, parked=True),
        }
        connection.execute(self._insert, _row(entry) | aside)

    def _wake(self, connection: sa.Connection | None) -> None:
        """Wake the relays: of all processes when a transaction commits, else of this one."""
        if connection is None:
            self.notify()
        elif self._wakes is not None:
            connection.execute(self._wakes)

    async def wait_for_work(self, timeout: float) -> None:  # noqa: ASYNC109  # seconds, as everywhere
        """Return when entries were committed, on PostgreSQL by any process, or after a time."""
        if self._listener is not None:
            await self._listener.start()
        await super().wait_for_work(timeout)

    async def aclose(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            await self._listener.stop()


class TransactionalOutbox:
    """The outbox of one unit of work: entries are committed, or undone, with the entities."""

    __slots__ = ("_outbox", "_uow")

    def __init__(self, uow: "SQLAlchemyUnitOfWork", outbox: SQLAlchemyOutbox) -> None:
        self._uow = uow
        self._outbox = outbox

    async def save(self, entry: OutboxEntry) -> None:
        """Store an entry."""
        await self.save_many([entry])

    async def save_many(self, entries: Sequence[OutboxEntry]) -> None:
        """Store entries in order."""
        if entries:
            await self._uow.call(None, self._outbox.insert, entries)
            self._uow.on_commit(self._wake)

    async def _wake(self) -> None:
        self._outbox.notify()


def _error_type(entry: OutboxEntry, *, parked: bool) -> str | None:
    return parts_of_error(entry.last_error)[0] if parked else None


def _row(entry: OutboxEntry) -> dict[str, Any]:
    return {**stored(entry, _FIELDS), "parked": False}


def _entry(row: Any) -> OutboxEntry:
    values = loaded(row, _FIELDS)
    values["created_at"] = values["created_at"].astimezone(UTC)
    return OutboxEntry(**values)
