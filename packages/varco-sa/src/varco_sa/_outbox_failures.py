"""The parked entries of an outbox in a table, and the keys that one entry holds back."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from varco_events import (
    RELAY_HANDLER,
    ActionResult,
    Failure,
    HeldKey,
    OutboxEntry,
    OutboxFailureStore,
    check_ids,
    error_of_parts,
    relay_failure,
)
from varco_sa._dialects import begin_write
from varco_sa._failure_shape import NONE, Column, Shape
from varco_sa._failures import TableFailures, exact_time
from varco_sa._sessions import Transactions
from varco_sa._types import Text, Timestamp


class OutboxFailures(TableFailures, OutboxFailureStore):
    """The parked entries of an outbox, and its held-back keys."""

    def __init__(
        self,
        transactions: Transactions,
        table: sa.Table,
        columns: Sequence[Column],
        entry_of: Callable[[Any], OutboxEntry],
        insert: Callable[[sa.Connection, OutboxEntry], None],
        wake: Callable[[sa.Connection | None], None],
    ) -> None:
        shape = Shape(
            table=table,
            columns=columns,
            load=lambda row, at, _in_hand, place: relay_failure(entry_of(row), at, position=place),
            index="ix_varco_outbox_failures",
            is_failure=table.c.parked == sa.true(),
            is_waiting=table.c.parked == sa.false(),
            channel=table.c.channel,
            handler=sa.literal(RELAY_HANDLER, Text()),
            group=NONE,
            error_type=table.c.error_type,
            failed_at=sa.func.coalesce(table.c.parked_at, table.c.created_at, type_=Timestamp()),
            waiting_since=table.c.created_at,
            place=(table.c.seq,),
            before_channel=(table.c.error_type,),
        )
        super().__init__(transactions, shape)
        self._insert = insert
        self._wake = wake

    async def retry(self, entry_ids: Sequence[UUID]) -> ActionResult:
        """Give parked entries back to the relays."""
        result = await super().retry(entry_ids)
        if result.done:
            self._wake(None)
        return result

    def _given_back(self, which: Column) -> sa.Update:
        nothing = dict.fromkeys(
            ("available_at", "leased_until", "last_error", "error_type", "parked_at", "claim_id")
        )
        return self._shape.table.update().where(which).values(parked=False, attempts=0, **nothing)

    def _removed(self, which: Column) -> sa.Delete:
        return self._shape.table.delete().where(which)

    def _done(self, connection: sa.Connection) -> None:
        self._wake(connection)

    async def add(self, failure: Failure) -> None:
        """Park an entry."""
        entry = replace(
            OutboxEntry.of(failure.envelope),
            entry_id=failure.entry_id,
            attempts=failure.attempts,
            last_error=error_of_parts(failure.error_type, failure.error_message),
        )
        await self._transactions.run(lambda connection: self._insert(connection, entry))

    async def held_keys(self, *, limit: int = 100) -> list[HeldKey]:
        """Keys whose first entry is not due yet."""
        table = self._shape.table
        other = table.alias("other")
        of_key = (other.c.key == table.c.key, other.c.parked == sa.false())
        waiting = sa.select(sa.func.count()).where(*of_key).scalar_subquery()
        before = sa.exists().where(*of_key, other.c.seq < table.c.seq)

        def look(connection: sa.Connection) -> list[Any]:
            statement = (
                sa.select(
                    table.c.key,
                    table.c.channel,
                    table.c.entry_id,
                    table.c.event_type,
                    table.c.attempts,
                    table.c.last_error,
                    table.c.available_at,
                    waiting,
                )
                .where(
                    table.c.parked == sa.false(),
                    table.c.key.is_not(None),
                    table.c.available_at > exact_time(connection),
                    sa.not_(before),
                )
                .order_by(table.c.available_at, table.c.seq)
                .limit(limit)
            )
            return list(connection.execute(statement).fetchall())

        return [
            HeldKey(
                key=key,
                channel=channel,
                entry_id=entry_id,
                event_type=event_type,
                attempts=attempts,
                error=error or "",
                until=until.astimezone(UTC),
                waiting=int(count),
            )
            for key, channel, entry_id, event_type, attempts, error, until, count in (
                await self._transactions.run(look)
            )
        ]

    async def release_keys(self, keys: Sequence[str]) -> int:
        """Make the next attempt of such keys due now."""
        asked = check_ids(keys)
        table = self._shape.table

        def release(connection: sa.Connection) -> int:
            begin_write(connection)
            now = exact_time(connection)
            held = (
                sa.select(table.c.seq, table.c.key)
                .where(
                    table.c.key.in_(asked),
                    table.c.parked == sa.false(),
                    table.c.available_at > now,
                    sa.or_(table.c.leased_until.is_(None), table.c.leased_until <= now),
                )
                .order_by(table.c.seq)
                .with_for_update()
            )
            rows = connection.execute(held).fetchall()
            if rows:
                which = table.c.seq.in_([row.seq for row in rows])
                connection.execute(table.update().where(which).values(available_at=None))
                self._wake(connection)
            return len({row.key for row in rows})

        released = await self.run(release)
        if released:
            self._wake(None)
        return released
