"""The dead letters in a table, as operators see them."""

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa

from varco_events import (
    AbstractDeadLetterQueue,
    AbstractEventBus,
    ActionResult,
    DeadLetterEntry,
    DeadLetterFailureStore,
    Failure,
    FailureTokenError,
)
from varco_sa._failure_shape import Column, Shape
from varco_sa._failures import TableFailures, exact_time
from varco_sa._sessions import Transactions
from varco_sa._types import Timestamp


class DeadLetterFailures(DeadLetterFailureStore, TableFailures):
    """The entries of a dead letter queue."""

    def __init__(
        self,
        transactions: Transactions,
        table: sa.Table,
        columns: Sequence[Column],
        entry_of: Callable[[Any], DeadLetterEntry],
        queue: AbstractDeadLetterQueue,
        bus: AbstractEventBus | None,
    ) -> None:
        DeadLetterFailureStore.__init__(self, bus)
        shape = Shape(
            table=table,
            columns=columns,
            load=lambda row, at, in_hand, place: self.failure_of(
                entry_of(row), failed_at=at, in_hand=in_hand, position=place
            ),
            index="ix_varco_dead_letters_kind",
            is_failure=sa.true(),
            is_waiting=sa.false(),
            channel=table.c.channel,
            handler=table.c.handler_name,
            group=table.c.consumer_group,
            error_type=table.c.error_type,
            failed_at=sa.func.coalesce(
                table.c.failed_at, table.c.last_failed_at, type_=Timestamp()
            ),
            waiting_since=table.c.last_failed_at,
            place=(table.c.seq,),
        )
        TableFailures.__init__(self, transactions, shape)
        self._queue = queue
        # By what this object has leased: nobody's lease but that one is ended.
        self._held: dict[UUID, UUID] = {}

    async def mark(self) -> str:
        """The number of the last one: each has a larger one than those before."""
        last = sa.select(sa.func.max(self._shape.table.c.seq))
        found = await self._transactions.run(
            lambda connection: connection.execute(last).scalar_one()
        )
        return str(found or 0)

    def _before(self, mark: str) -> Column:
        try:
            return self._shape.table.c.seq <= int(mark)
        except ValueError as error:
            raise FailureTokenError("find", f"{mark!r} is no mark of a queue") from error

    async def hold(
        self, entry_ids: Sequence[UUID], lease: float
    ) -> tuple[list[Failure], Collection[UUID]]:
        """Lease those that nobody has in hand, by the clock of the database."""
        if not entry_ids:
            return [], ()
        table, claim_id = self._shape.table, uuid4()

        def hold(connection: sa.Connection) -> tuple[list[Failure], Collection[UUID]]:
            free, others = self.lock(connection, entry_ids)
            now = exact_time(connection)
            if free:
                which = table.c.entry_id.in_([row.entry_id for row in free])
                until = now + timedelta(seconds=lease)
                leased = {"leased_until": until, "claim_id": claim_id}
                connection.execute(table.update().where(which).values(leased))
            return self.loaded(free, now), others.keys()

        held, others = await self.run(hold)
        self._held.update((one.entry_id, claim_id) for one in held)
        return held, others

    async def settle(self, done: Sequence[UUID], given_back: Sequence[UUID]) -> None:
        """Forget what is done, and end the leases of what is given back."""
        table = self._shape.table
        claims = [self._held.pop(one) for one in (*done, *given_back) if one in self._held]

        def settle(connection: sa.Connection) -> None:
            if done:
                connection.execute(table.delete().where(table.c.entry_id.in_(done)))
            if given_back:
                which = sa.and_(table.c.entry_id.in_(given_back), table.c.claim_id.in_(set(claims)))
                connection.execute(table.update().where(which).values(leased_until=None))

        if done or given_back:
            await self._transactions.run(settle)

    async def discard(self, entry_ids: Sequence[UUID]) -> ActionResult:
        """Remove entries that nobody has in hand."""
        return await TableFailures.discard(self, entry_ids)

    def _given_back(self, which: Column) -> sa.Update:
        raise NotImplementedError  # they are sent

    def _removed(self, which: Column) -> sa.Delete:
        return self._shape.table.delete().where(which)

    async def add(self, failure: Failure) -> None:
        """Push an entry."""
        await self._queue.push(self.letter_of(failure))
