"""Dead letters in a table."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from varco_events import (
    AbstractDeadLetterQueue,
    AbstractEventBus,
    DeadLetterEntry,
    DeadLetterQueueFullError,
    EventEnvelope,
    takes_former_names,
)
from varco_sa._dead_letter_failures import DeadLetterFailures
from varco_sa._dialects import begin_write, dialect_of
from varco_sa._envelopes import ENVELOPE, loaded, stored
from varco_sa._sessions import Transactions, store_time

_FIELDS = (
    "entry_id",
    "channel",
    "handler_name",
    "error_type",
    "error_message",
    "attempts",
    "first_failed_at",
    "last_failed_at",
    "origin",
)
_ENVELOPE = ("event_type", "key", "payload", *ENVELOPE)


class SQLAlchemyDeadLetterQueue(AbstractDeadLetterQueue):
    """Failed events in a table; every call is a transaction of its own.

    Safe to use from several tasks and processes.

    Args:
        engine: Where the table is.
        table: The table.
        max_size: A push beyond it is refused; None for no limit.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        table: sa.Table,
        *,
        max_size: int | None = None,
    ) -> None:
        self._transactions = Transactions(engine)
        self._table = table
        self._max_size = max_size
        columns = (*_FIELDS, *_ENVELOPE, "envelope_channel", "consumer_group", "seq")
        self._columns = [table.c[name] for name in columns]
        ours = dialect_of(engine.dialect)
        self._insert = ours.insert_or_ignore(table).values(failed_at=ours.now())

    async def push(self, entry: DeadLetterEntry) -> None:
        """Append an entry; an entry id that is there already is kept once."""
        row: dict[str, Any] = {name: getattr(entry, name) for name in _FIELDS}
        row |= stored(entry.envelope, _ENVELOPE)
        row |= {"envelope_channel": entry.envelope.channel, "consumer_group": entry.group[:200]}

        def insert(connection: sa.Connection) -> None:
            if self._max_size is not None:
                begin_write(connection)
                known = self._table.c.entry_id == entry.entry_id
                if connection.execute(sa.select(self._table.c.seq).where(known)).first():
                    return
                if self._count(connection) >= self._max_size:
                    raise DeadLetterQueueFullError(entry.entry_id, self._max_size)
            connection.execute(self._insert, row)

        await self._transactions.run(insert)

    @takes_former_names(visibility_timeout="lease")
    async def pop_batch(self, *, limit: int = 10, lease: float = 30.0) -> list[DeadLetterEntry]:
        """Lease the oldest entries that are visible, by the clock of the database."""
        table, claim_id = self._table, uuid4()

        def take(connection: sa.Connection) -> list[Any]:
            begin_write(connection)
            now = store_time(connection)
            visible = (
                sa.select(*self._columns)
                .where(sa.or_(table.c.leased_until.is_(None), table.c.leased_until <= now))
                .order_by(table.c.seq)
                .limit(max(limit, 0))
                .with_for_update(skip_locked=True)
            )
            until = now + timedelta(seconds=lease)
            values = {"leased_until": until, "claim_id": claim_id}
            rows = list(connection.execute(visible).fetchall())
            if rows:
                leased = table.c.seq.in_([row.seq for row in rows])
                connection.execute(table.update().where(leased).values(values))
            return rows

        rows = await self._transactions.run(take, isolation="READ COMMITTED")
        return [_entry(row).of_claim(claim_id) for row in rows]

    async def ack(self, entry_id: UUID) -> None:
        """Remove an entry for good."""
        statement = self._table.delete().where(self._table.c.entry_id == entry_id)
        await self._transactions.run(lambda connection: connection.execute(statement))

    async def nack(self, entry_id: UUID, *, claim_id: UUID | None = None) -> None:
        """Make a leased entry visible again, at its old place, unless another has leased it."""
        table = self._table
        statement = table.update().where(table.c.entry_id == entry_id).values(leased_until=None)
        if claim_id is not None:
            statement = statement.where(table.c.claim_id == claim_id)
        await self._transactions.run(lambda connection: connection.execute(statement))

    async def count(self) -> int:
        """How many entries are kept, leased ones included."""
        return await self._transactions.run(self._count)

    def _count(self, connection: sa.Connection) -> int:
        counted = sa.select(sa.func.count()).select_from(self._table)
        return int(connection.execute(counted).scalar_one())

    async def peek(self, *, limit: int = 10) -> list[DeadLetterEntry]:
        """The oldest entries, leased ones included, without leasing them."""
        statement = sa.select(*self._columns).order_by(self._table.c.seq).limit(max(limit, 0))
        rows = await self._transactions.run(
            lambda connection: list(connection.execute(statement).fetchall())
        )
        return [_entry(row) for row in rows]

    def failures(self, bus: AbstractEventBus | None = None) -> DeadLetterFailures:
        """The entries as operators see them: filtered, grouped, retried and discarded."""
        return DeadLetterFailures(self._transactions, self._table, self._columns, _entry, self, bus)


def _entry(row: Any) -> DeadLetterEntry:
    values: dict[str, Any] = dict(zip(_FIELDS, row, strict=False))
    values["origin"] = values["origin"] or ""
    envelope = loaded(row[len(_FIELDS) :], _ENVELOPE)
    envelope["channel"] = row.envelope_channel or row.channel
    if envelope["event_id"] is None:  # of an older version
        made = EventEnvelope.around(envelope["payload"], channel=envelope["channel"])
    else:
        made = EventEnvelope(**envelope)
    return DeadLetterEntry(envelope=made, group=row.consumer_group or "", **values)
