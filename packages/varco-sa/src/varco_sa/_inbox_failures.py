"""The entries of an inbox in a table that failed and wait for another attempt."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from varco_events import RELAY_HANDLER, InboxEntry, inbox_failure
from varco_sa._failures import Column, Shape, TableFailures
from varco_sa._sessions import Transactions
from varco_sa._types import Timestamp


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
        waits = table.c.processed_at.is_(None)
        shape = Shape(
            table=table,
            columns=columns,
            load=lambda row, at, in_hand, place: inbox_failure(
                entry_of(row), at, in_hand=in_hand, position=place
            ),
            is_failure=sa.and_(waits, table.c.last_error.is_not(None)),
            is_waiting=sa.and_(waits, table.c.last_error.is_(None)),
            channel=table.c.channel,
            handler=table.c.handler_name,
            nameless=RELAY_HANDLER,
            group=table.c.consumer_group,
            error_type=table.c.error_type,
            failed_at=sa.func.coalesce(table.c.failed_at, table.c.received_at, type_=Timestamp()),
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
