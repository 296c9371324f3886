"""Counting failures by what failed and when."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from varco_events import FailureTally
from varco_sa._dialect import Dialect
from varco_sa._dialects import dialect_of

type Column = sa.ColumnElement[Any]
type Figures = dict[str, tuple[int, datetime]]

_NAMES = ("error_type", "handler", "consumer_group")


def tally(
    connection: sa.Connection,
    kind: Sequence[Column],
    at: Column,
    which: Sequence[Column],
    edges: Sequence[datetime],
    nameless: str,
) -> list[FailureTally]:
    """How many there are of each error in each handler, between each two of the edges.

    Args:
        connection: In a transaction.
        kind: The error, the handler and its group.
        at: When it failed.
        which: The rows.
        edges: Moments in order.
        nameless: The name of a handler that has none.
    """
    dialect = dialect_of(connection.dialect)
    named = dict(zip(_NAMES, kind, strict=True))
    # In a subquery: an engine cannot tell that two expressions with parameters are the same.
    each: sa.Select[*tuple[Any, ...]] = sa.select(
        *(column.label(name) for name, column in named.items()),
        at.label("at"),
        _stretch(at, edges, 0).label("stretch"),
    )
    known = each.where(*which).subquery().c
    shown = [column if is_same(column) else known[name] for name, column in named.items()]
    by = varying(shown)
    listed = dialect.listed(known.at) if edges else None
    if listed is not None:
        every: Any = connection.execute(sa.select(*shown, listed).group_by(*by))
        rows = _stretches(every, dialect, edges)
    else:
        stretch: Column = known.stretch if edges else sa.literal(0)
        counted = (stretch, sa.func.count(), sa.func.min(known.at), sa.func.max(known.at))
        statement = sa.select(*shown, *counted).group_by(*by, *varying([stretch]))
        rows = (tuple[Any, ...](row) for row in connection.execute(statement))
    return [
        FailureTally(
            error_type=error or "",
            handler=handler or nameless,
            consumer_group=group or "",
            stretch=stretch,
            count=count,
            first_at=first.astimezone(UTC),
            last_at=last.astimezone(UTC),
        )
        for error, handler, group, stretch, count, first, last in rows
    ]


def figures(
    connection: sa.Connection,
    channel: Column,
    at: Column,
    which: Column,
    line: Sequence[Column] = (),
) -> Figures:
    """By channel how many rows there are, and the first moment.

    They are counted by `line` and channel first, in which order an index has them.
    """
    each = sa.select(
        channel.label("channel"), sa.func.count().label("number"), sa.func.min(at).label("first")
    )
    known = each.where(which).group_by(*line, channel).subquery().c
    statement = sa.select(known.channel, sa.func.sum(known.number), sa.func.min(known.first))
    return {
        channel: (int(number), first.astimezone(UTC))
        for channel, number, first in connection.execute(statement.group_by(known.channel))
    }


def varying(columns: Sequence[Column]) -> list[Column]:
    """Those of the columns that are no constants: an engine may sort all rows to group by them."""
    return [column for column in columns if not is_same(column)]


def is_same(column: Column) -> bool:
    """Whether all rows have the same there."""
    return isinstance(column, sa.BindParameter)


def _stretch(moment: Column, edges: Sequence[datetime], first: int) -> Column:
    """How many of the edges are not after a moment: halved again and again, as few comparisons."""
    if not edges:
        return sa.literal(first, sa.Integer())
    middle = len(edges) // 2
    return sa.case(
        (moment < edges[middle], _stretch(moment, edges[:middle], first)),
        else_=_stretch(moment, edges[middle + 1 :], first + middle + 1),
    )


def _stretches(
    kinds: Iterable[Any], dialect: Dialect, edges: Sequence[datetime]
) -> Iterator[tuple[Any, ...]]:
    """The rows of every stretch, from all moments of each kind as they are stored."""
    load = dialect.load_moment or datetime.fromisoformat
    texts = [dialect.store_moment(edge.astimezone(UTC)) for edge in edges]
    for *kind, listed in kinds:
        moments, start = sorted(listed.split(",")), 0
        while start < len(moments):
            stretch = bisect_right(texts, moments[start])
            end = len(moments)
            if stretch < len(texts):
                end = bisect_left(moments, texts[stretch], start)
            first, last = moments[start], moments[end - 1]
            yield *kind, stretch, end - start, load(first), load(last)
            start = end
