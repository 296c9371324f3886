"""The inbox: which events were handled, remembered with what handling them changed."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from varco_domain.backend import utc_now
from varco_events import InboxEntry, InboxRepository, parts_of_error
from varco_sa._dialects import begin_write, dialect_of
from varco_sa._envelopes import ENVELOPE, loaded, stored
from varco_sa._failures import exact_time
from varco_sa._inbox_failures import InboxFailures
from varco_sa._sessions import Transactions, store_time

if TYPE_CHECKING:
    from varco_sa._uow import SQLAlchemyUnitOfWork

_FIELDS = (
    "entry_id",
    "event_type",
    "channel",
    "payload",
    "received_at",
    "processed_at",
    "handler_name",
    "key",
    "attempts",
    "leased_until",
    "last_error",
    "available_at",
    "claim_id",
    *ENVELOPE,
)


class SQLAlchemyInbox(InboxRepository):
    """The inbox as consumers use it; every call is a transaction of its own.

    An event that is handled with `uow.inbox` is marked in the transaction that its handler writes
    in, so that its effect happens once. Safe to use from several tasks.
    """

    def __init__(
        self, engine: AsyncEngine, table: sa.Table, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._transactions = Transactions(engine)
        self._table = table
        self._clock = clock
        self._insert = dialect_of(engine.dialect).insert_or_ignore(table)

    def accept(self, connection: sa.Connection, entry: InboxEntry) -> bool:
        """Insert an entry in the transaction of `connection`; False if it is there."""
        row = stored(entry, _FIELDS) | {
            "consumer_group": entry.headers.get("varco-group", "")[:200]
        }
        if entry.handler_name and entry.processed_at is None:
            # From here on its handler has it in hand, which pollers judge by this clock.
            row["received_at"] = store_time(connection)
        return connection.execute(self._insert, row).rowcount == 1

    def now(self) -> datetime:
        """The time of the injected clock."""
        return self._clock()

    async def save(self, entry: InboxEntry) -> None:
        """Store an entry; an id that is there already is left as it is."""
        await self._transactions.run(lambda connection: self.accept(connection, entry))

    async def mark_processed(self, entry_id: UUID) -> None:
        """Note that an entry was handled, and drop its payload."""
        table = self._table
        statement = (
            table.update()
            .where(table.c.entry_id == entry_id)
            .values(processed_at=self._clock(), payload=b"")
        )
        await self._transactions.run(lambda connection: connection.execute(statement))

    async def get_unprocessed(self, *, limit: int = 100) -> list[InboxEntry]:
        """The oldest entries that were not handled."""
        table = self._table
        statement = (
            sa.select(*(table.c[name] for name in _FIELDS))
            .where(table.c.processed_at.is_(None))
            .order_by(table.c.received_at, table.c.entry_id)
            .limit(limit)
        )
        return await self._transactions.run(
            lambda connection: [_entry(row) for row in connection.execute(statement)]
        )

    async def claim(self, *, limit: int = 100, lease: float = 60.0) -> list[InboxEntry]:
        """Take the oldest entries that nobody has in hand, by the clock of the database."""
        return await self._transactions.run(
            lambda connection: self._claim(connection, limit, timedelta(seconds=lease)),
            isolation="READ COMMITTED",
        )

    def _claim(self, connection: sa.Connection, limit: int, lease: timedelta) -> list[InboxEntry]:
        begin_write(connection)
        table, now = self._table, store_time(connection)
        free = (
            sa.select(*(table.c[name] for name in _FIELDS))
            .where(
                table.c.processed_at.is_(None),
                sa.or_(table.c.leased_until.is_(None), table.c.leased_until <= now),
                sa.or_(table.c.available_at.is_(None), table.c.available_at <= now),
                sa.or_(table.c.handler_name == "", table.c.received_at <= now - lease),
            )
            .order_by(table.c.received_at, table.c.entry_id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        found = [_entry(row) for row in connection.execute(free).fetchall()]
        leased: dict[str, Any] = {"leased_until": now + lease, "claim_id": uuid4()}
        claimed = [replace(entry, attempts=entry.attempts + 1, **leased) for entry in found]
        self._note(connection, claimed)
        return claimed

    async def release(self, entry: InboxEntry, *, delay: float = 0.0) -> None:
        """Keep what happened to a claimed entry; it can be claimed again after a delay."""

        def release(connection: sa.Connection) -> None:
            now = exact_time(connection)
            due = now + timedelta(seconds=delay) if delay else None
            released = replace(entry, leased_until=None, available_at=due)
            held = None if entry.claim_id is None else self._table.c.claim_id == entry.claim_id
            if entry.last_error is not None:
                self._note_failure(connection, released, now, held)
            self._note(connection, [released], held)

        await self._transactions.run(release)

    def _note_failure(
        self,
        connection: sa.Connection,
        entry: InboxEntry,
        now: datetime,
        held: sa.ColumnElement[bool] | None,
    ) -> None:
        """Note when the attempt failed, unless it was none and was given back."""
        table = self._table
        connection.execute(
            table.update()
            .where(
                table.c.entry_id == entry.entry_id,
                table.c.handler_name == entry.handler_name,
                sa.or_(table.c.failed_at.is_(None), table.c.attempts <= entry.attempts),
                *([] if held is None else [held]),
            )
            .values(failed_at=now, error_type=parts_of_error(entry.last_error)[0])
        )

    def failures(self) -> InboxFailures:
        """The entries that failed and wait for another attempt, as operators see them."""
        columns = [self._table.c[name] for name in _FIELDS]
        return InboxFailures(self._transactions, self._table, columns, _entry, self._clock)

    def _note(
        self,
        connection: sa.Connection,
        entries: Sequence[InboxEntry],
        held: sa.ColumnElement[bool] | None = None,
    ) -> None:
        """Write down what became of entries; of those alone that are `held`, if that is asked."""
        table = self._table
        noted = ("attempts", "leased_until", "last_error", "available_at", "claim_id")
        statement = (
            table.update()
            .where(
                table.c.entry_id == sa.bindparam("old_id", type_=table.c.entry_id.type),
                table.c.handler_name == sa.bindparam("of", type_=table.c.handler_name.type),
                table.c.processed_at.is_(None),
                *([] if held is None else [held]),
            )
            .values({name: sa.bindparam(name, type_=table.c[name].type) for name in noted})
        )
        rows = [
            {name: getattr(entry, name) for name in noted}
            | {"old_id": entry.entry_id, "of": entry.handler_name}
            for entry in entries
        ]
        if rows:
            connection.execute(statement, rows)

    async def is_processed(self, entry_id: UUID) -> bool:
        """Whether an entry was handled."""
        table = self._table
        statement = sa.select(table.c.entry_id).where(
            table.c.entry_id == entry_id, table.c.processed_at.is_not(None)
        )
        return await self._transactions.run(
            lambda connection: connection.execute(statement).first() is not None
        )

    async def discard(self, entry_id: UUID) -> None:
        """Remove an entry that was dead-lettered, so that it can be handled when it comes again."""
        statement = self._table.delete().where(self._table.c.entry_id == entry_id)
        await self._transactions.run(lambda connection: connection.execute(statement))

    async def forget(self, before: datetime) -> int:
        """Remove what was handled before a moment, and return how much that was."""
        statement = self._table.delete().where(self._table.c.processed_at < before)
        return await self._transactions.run(
            lambda connection: connection.execute(statement).rowcount
        )


def _entry(row: Any) -> InboxEntry:
    values = loaded(row, _FIELDS)
    values["attempts"] = values["attempts"] or 0
    return InboxEntry(**values)


class Inbox:
    """The inbox of one unit of work."""

    __slots__ = ("_inbox", "_uow")

    def __init__(self, uow: "SQLAlchemyUnitOfWork", inbox: SQLAlchemyInbox) -> None:
        self._uow = uow
        self._inbox = inbox

    async def accept(self, event_id: UUID, handler_name: str = "") -> bool:
        """Tell whether the handler sees the event for the first time, and remember it.

        The memory is part of this transaction: it goes when the transaction is rolled back. Another
        transaction that accepts the same event waits until this one ends.
        """
        now = self._inbox.now()
        entry = InboxEntry(
            entry_id=event_id, handler_name=handler_name, received_at=now, processed_at=now
        )
        accepted: bool = await self._uow.call(None, self._inbox.accept, entry)
        return accepted
