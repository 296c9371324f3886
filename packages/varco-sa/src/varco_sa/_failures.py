"""The failures in a table, as operators see them: what outbox, inbox and dead letters share."""

import json
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from varco_events import (
    ALL_FAILURES,
    ActionResult,
    Failure,
    FailureFilter,
    FailureGroup,
    FailureOutcome,
    FailureStore,
    FailureTally,
    FailureTokenError,
    NoSuchFailureError,
    StoreFigures,
    check_ids,
    outcomes_of,
)
from varco_sa._dialects import begin_write, dialect_of
from varco_sa._failure_shape import Column, Shape
from varco_sa._sessions import Transactions, store_time
from varco_sa._tallies import Figures, figures, groups, tally
from varco_sa._types import Integer, Timestamp

type Change = Callable[[Column], sa.Update | sa.Delete]

_MAY_BE_MISSING = ("error_type", "handler", "consumer_group")


def exact_time(connection: sa.Connection) -> datetime:
    """The time of the database, to the microsecond: that of this host where it is embedded."""
    if dialect_of(connection.dialect).embedded:
        return datetime.now(UTC)
    return store_time(connection)


class TableFailures(FailureStore):
    """The failures of a table; every call is a transaction of its own."""

    def __init__(self, transactions: Transactions, shape: Shape) -> None:
        self._transactions = transactions
        self._shape = shape

    async def find(
        self,
        wanted: FailureFilter = ALL_FAILURES,
        *,
        after: str | None = None,
        until: str | None = None,
        limit: int = 100,
        newest_first: bool = False,
    ) -> list[Failure]:
        """Up to `limit` failures that match."""
        place = self._shape.place
        order = [column.desc() if newest_first else column.asc() for column in place]
        statement = self._selected(self._matching(wanted, until)).order_by(*order).limit(limit)
        if after is not None:
            statement = statement.where(_behind(place, _read(after, place), newest_first))
        return await self._transactions.run(lambda connection: self._load(connection, statement))

    async def get(self, entry_id: UUID) -> Failure:
        """One failure."""
        statement = self._selected([*self._matching(), self._shape.table.c.entry_id == entry_id])
        found = await self._transactions.run(lambda connection: self._load(connection, statement))
        if not found:
            raise NoSuchFailureError(entry_id)
        return found[0]

    async def tally(
        self,
        wanted: FailureFilter = ALL_FAILURES,
        *,
        edges: Sequence[datetime] = (),
        until: str | None = None,
    ) -> list[FailureTally]:
        """How many match."""
        return await self._counted(tally, wanted, edges, until)

    async def grouped(
        self, wanted: FailureFilter = ALL_FAILURES, *, edges: Sequence[datetime] = ()
    ) -> list[FailureGroup]:
        """The failures that match by error and handler, in no order."""
        if not edges:
            return await super().grouped(wanted)
        return await self._counted(groups, wanted, edges, None)

    async def _counted[T](
        self,
        count: Callable[..., list[T]],
        wanted: FailureFilter,
        edges: Sequence[datetime],
        until: str | None,
    ) -> list[T]:
        which = self._matching(wanted, until)
        return await self._transactions.run(
            lambda connection: count(connection, self._shape, which, edges)
        )

    async def figures(self) -> StoreFigures:
        """How much waits and how much failed, by channel."""
        shape = self._shape

        def look(connection: sa.Connection) -> tuple[datetime, Figures, Figures]:
            here, line = (connection, shape.channel), shape.before_channel
            waiting = figures(*here, shape.waiting_since, shape.is_waiting)
            failed = figures(*here, shape.failed_at, shape.is_failure, line)
            return exact_time(connection), waiting, failed

        return StoreFigures.of(*await self._transactions.run(look))

    async def mark(self) -> str:
        """The time of the database."""
        moment = await self._transactions.run(exact_time)
        return moment.isoformat()

    async def retry(self, entry_ids: Sequence[UUID]) -> ActionResult:
        """Give failures back, at their old places."""
        return await self._act(entry_ids, self._given_back)

    async def discard(self, entry_ids: Sequence[UUID]) -> ActionResult:
        """Remove failures."""
        return await self._act(entry_ids, self._removed)

    @abstractmethod
    def _given_back(self, which: Column) -> sa.Update | sa.Delete:
        """What a retry does to the rows."""

    @abstractmethod
    def _removed(self, which: Column) -> sa.Update | sa.Delete:
        """What discarding does to the rows."""

    def _done(self, connection: sa.Connection) -> None:
        """Called in a transaction that has changed something."""

    async def _act(self, entry_ids: Sequence[UUID], change: Change) -> ActionResult:
        ids = check_ids(entry_ids)
        table = self._shape.table

        def act(connection: sa.Connection) -> dict[UUID, FailureOutcome]:
            free, others = self.lock(connection, ids)
            if free:
                taken = [row.entry_id for row in free]
                connection.execute(change(table.c.entry_id.in_(taken)))
                self._done(connection)
            return dict.fromkeys((row.entry_id for row in free), FailureOutcome.DONE) | others

        return outcomes_of(ids, await self.run(act) if ids else {})

    async def run[T](self, work: Callable[[sa.Connection], T]) -> T:
        """In a transaction that locks rows and sees what others committed."""
        return await self._transactions.run(work, isolation="READ COMMITTED")

    def lock(
        self, connection: sa.Connection, ids: Iterable[UUID]
    ) -> tuple[list[Any], dict[UUID, FailureOutcome]]:
        """Lock the rows of failures that nobody has in hand, and tell of those that somebody has.

        Who else locks them waits, and then sees what became of them.
        """
        begin_write(connection)
        shape, asked = self._shape, self._shape.table.c.entry_id.in_(list(ids))
        leased_until = shape.table.c.leased_until
        is_free = sa.or_(leased_until.is_(None), leased_until <= exact_time(connection))
        statement = self._selected([shape.is_failure, asked, is_free])
        # In the order of the store, so that two who lock the same do not wait for each other.
        locking = statement.order_by(*shape.place).with_for_update(of=shape.table)
        free = list(connection.execute(locking).fetchall())
        taken = {row.entry_id for row in free}
        known = connection.execute(
            sa.select(shape.table.c.entry_id).where(shape.is_failure, asked)
        ).scalars()
        return free, {one: FailureOutcome.IN_HAND for one in known if one not in taken}

    def _matching(
        self, wanted: FailureFilter = ALL_FAILURES, until: str | None = None
    ) -> list[Column]:
        shape, table = self._shape, self._shape.table
        columns = {
            "channel": shape.channel,
            "event_type": table.c.event_type,
            "error_type": shape.error_type,
            "handler": shape.handler,
            "consumer_group": shape.group,
            "key": table.c.key,
        }
        found = [shape.is_failure]
        for name, value in wanted.named().items():
            if name == "since":
                found.append(shape.failed_at >= value)
            elif name == "until":
                found.append(shape.failed_at < value)
            elif value in (nothing := ("", shape.nameless)) and name in _MAY_BE_MISSING:
                found.append(sa.or_(columns[name].is_(None), columns[name].in_(nothing)))
            else:
                found.append(columns[name] == value)
        if until is not None:
            found.append(self._before(until))
        return found

    def _before(self, mark: str) -> Column:
        """Which rows were failures when the mark was made."""
        try:
            return self._shape.failed_at <= datetime.fromisoformat(mark)
        except ValueError as error:
            raise FailureTokenError("find", f"{mark!r} is no mark of a database") from error

    def _selected(self, conditions: Sequence[Column]) -> sa.Select[Any]:
        shape = self._shape
        more = [shape.failed_at.label("of_failing"), shape.table.c.leased_until.label("of_lease")]
        places = [column.label(f"place_{n}") for n, column in enumerate(shape.place)]
        return sa.select(*shape.columns, *more, *places).where(*conditions)

    def _load(self, connection: sa.Connection, statement: sa.Select[Any]) -> list[Failure]:
        rows = connection.execute(statement).fetchall()
        return self.loaded(rows, exact_time(connection) if rows else datetime.now(UTC))

    def loaded(self, rows: Iterable[Any], now: datetime) -> list[Failure]:
        """The failures of rows that were selected."""
        places = [f"place_{number}" for number in range(len(self._shape.place))]
        return [
            self._shape.load(
                row,
                row.of_failing.astimezone(UTC),
                row.of_lease is not None and row.of_lease > now,
                json.dumps([getattr(row, name) for name in places], default=_text),
            )
            for row in rows
        ]


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _read(position: str, place: Sequence[Column]) -> list[Any]:
    """The values of a position."""
    try:
        said: list[Any] = json.loads(position)
        return [_reader(column)(value) for column, value in zip(place, said, strict=True)]
    except (ValueError, TypeError, AttributeError) as error:
        raise FailureTokenError("find", f"{position!r} is no position in a table") from error


def _reader(column: Column) -> Callable[[Any], Any]:
    if isinstance(column.type, Timestamp):
        return datetime.fromisoformat
    return int if isinstance(column.type, Integer) else UUID


def _behind(
    place: Sequence[Column], values: Sequence[Any], newest_first: bool
) -> Column:  # as in find
    """Whether a row comes after a position."""
    column, value = place[0], values[0]
    further: Column = column < value if newest_first else column > value
    if len(place) == 1:
        return further
    return sa.or_(further, sa.and_(column == value, _behind(place[1:], values[1:], newest_first)))
