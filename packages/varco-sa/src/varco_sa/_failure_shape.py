"""Where a table has what is known of failures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from varco_events import Failure
from varco_sa._types import Text

type Column = sa.ColumnElement[Any]

NONE: Column = sa.literal("", Text())


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Where the table of failures has what.

    Attributes:
        table: The table.
        columns: What `load` reads.
        load: Makes a failure of a row, its time, whether it is in hand, and its place.
        index: The index that has all of what failures are counted by.
        is_failure: Which rows are failures.
        is_waiting: Which rows are on their way.
        channel: Where it goes.
        handler: Who failed; nothing stands for `nameless`.
        nameless: The name of a handler that has none.
        group: The group of the handler, or nothing.
        error_type: The class of the error, or nothing.
        failed_at: When it was put aside.
        waiting_since: Since when it is there.
        place: The columns that say the order, of which the last one is unique.
        before_channel: What the index has before the channel from which failures are counted.
    """

    table: sa.Table
    columns: Sequence[Column]
    load: Callable[[Any, datetime, bool, str], Failure]
    index: str
    is_failure: Column
    is_waiting: Column
    channel: Column
    handler: Column
    nameless: str = ""
    group: Column
    error_type: Column
    failed_at: Column
    waiting_since: Column
    place: Sequence[Column]
    before_channel: Sequence[Column] = ()

    @property
    def kind(self) -> tuple[Column, Column, Column]:
        """What failures are counted by."""
        return self.error_type, self.handler, self.group
