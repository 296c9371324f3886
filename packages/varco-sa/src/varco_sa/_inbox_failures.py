"""The entries of an inbox in a table that failed and wait for another attempt."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from varco_events import RELAY_HANDLER, InboxEntry, inbox_failure
from varco_sa._failure_shape import Column, Shape
from varco_sa._failures import TableFailures
from varco_sa._sessions import Transactions


class InboxFailures(TableFailures):
    """What pollers will try again, and operators may have tried now, or not at all."""

    def __init__(
        self,
        transactions: Transactions,
        table: sa.Table,
        columns: Sequence[Column],
        entry_of: Callable[[Any], InboxEntry],
        clock: Callable[[], datetime],
    ) -> None:
        waits, failed_at = table.c.processed_at.is_(None), table.c.failed_at
        shape = Shape(
            table=table,
            columns=columns,
            load=lambda row, at, in_hand, place: inbox_failure(
                entry_of(row), at, in_hand=in_hand, position=place
            ),
            index="ix_varco_inbox_failures",
            is_failure=sa.and_(waits, failed_at.is_not(None)),
            is_waiting=sa.and_(waits, failed_at.is_(None)),
            channel=table.c.channel,
            handler=table.c.handler_name,
            nameless=RELAY_HANDLER,
            group=table.c.consumer_group,
            error_type=table.c.error_type,
            failed_at=failed_at,
            waiting_since=table.c.received_at,
            place=(table.c.received_at, table.c.entry_id),
            before_channel=(table.c.handler_name, table.c.error_type, table.c.consumer_group),
        )
        super().__init__(transactions, shape)
        self._clock = clock

    def _given_back(self, which: Column) -> sa.Update:
        nothing = dict.fromkeys(
            ("available_at", "leased_until", "last_error", "error_type", "failed_at", "claim_id")
        )
        return self._shape.table.update().where(which).values(attempts=0, **nothing)

    def _removed(self, which: Column) -> sa.Update:
        """As handled, so that it is not handled when it comes again."""
        changed = {"processed_at": self._clock(), "payload": b""}
        return self._shape.table.update().where(which).values(changed)
