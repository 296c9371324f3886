"""Counting failures by what failed and when."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from varco_events import FailureGroup, FailureTally
from varco_sa._dialects import dialect_of
from varco_sa._failure_shape import Column, Shape

type Figures = dict[str, tuple[int, datetime]]

_NAMES = ("error_type", "handler", "consumer_group")
_INDEXED = ("handler", "error_type", "consumer_group")


def tally(
    connection: sa.Connection,
    shape: Shape,
    which: Sequence[Column],
    edges: Sequence[datetime],
) -> list[FailureTally]:
    """How many there are of each error in each handler, between each two of the edges.

    Args:
        connection: In a transaction.
        shape: Where what is counted is.
        which: The rows.
        edges: Moments in order.
    """
    shown, by, moment, stretch = _known(connection, shape, which, edges)
    when = [stretch] if edges else []
    counted = (sa.func.count(), sa.func.min(moment), sa.func.max(moment))
    statement = sa.select(*shown, *counted, *(when or [sa.literal(0)])).group_by(*by, *when)
    rows: Any = connection.execute(statement)
    return [
        FailureTally(**common, stretch=int(stretch))
        for common, stretch in _read(rows, shape.nameless)
    ]


def groups(
    connection: sa.Connection,
    shape: Shape,
    which: Sequence[Column],
    edges: Sequence[datetime],
) -> list[FailureGroup]:
    """The same with a row for each error and handler: there are far fewer than stretches."""
    shown, by, moment, stretch = _known(connection, shape, which, edges)
    dialect = dialect_of(connection.dialect)
    number, first, last = sa.func.count(), sa.func.min(moment), sa.func.max(moment)
    if dialect.lists_to_group:
        listed = sa.func.aggregate_strings(sa.cast(stretch, sa.String()), ",")
        statement = sa.select(*shown, number, first, last, listed).group_by(*by)
    else:
        counted = (number.label("number"), first.label("first"), last.label("last"), stretch)
        named = [column.label(name) for column, name in zip(shown, _NAMES, strict=True)]
        inner = sa.select(*named, *counted).group_by(*by, stretch).subquery().c
        text = sa.cast(inner.stretch, sa.String()) + ":" + sa.cast(inner.number, sa.String())
        outer = [inner[name] for name in _NAMES]
        spans = (sa.func.sum(inner.number), sa.func.min(inner.first), sa.func.max(inner.last))
        statement = sa.select(*outer, *spans, sa.func.aggregate_strings(text, ","))
        statement = statement.group_by(*outer)
    with dialect.listing(connection):
        rows = connection.execute(statement).fetchall()
    return [
        FailureGroup(**common, counts=_numbers(len(edges), listed))
        for common, listed in _read(rows, shape.nameless)
    ]


def figures(
    connection: sa.Connection,
    channel: Column,
    at: Column,
    which: Column,
    line: Sequence[Column] = (),
) -> Figures:
    """By channel how many rows there are, and the first moment.

    They are counted by `line` and channel first, in which order an index has them, where an engine
    would sort them otherwise.
    """
    if not dialect_of(connection.dialect).sorts_to_group:
        line = ()
    number, first = sa.func.count().label("number"), sa.func.min(at).label("first")
    each = sa.select(channel.label("channel"), number, first)
    known = each.where(which).group_by(*line, channel).subquery().c
    statement = sa.select(known.channel, sa.func.sum(known.number), sa.func.min(known.first))
    return {
        channel: (int(number), first.astimezone(UTC))
        for channel, number, first in connection.execute(statement.group_by(known.channel))
    }


def _known(
    connection: sa.Connection, shape: Shape, which: Sequence[Column], edges: Sequence[datetime]
) -> tuple[list[Column], list[Column], Column, Column]:
    """The kind as it is shown, what of it varies, the moment, and the stretch of time.

    In a subquery: an engine cannot tell that two expressions with parameters are the same. And to
    group by what is the same in all rows, one may sort them. The indexes have the handler first.
    """
    kind, at = shape.kind, shape.failed_at
    each: sa.Select[*tuple[Any, ...]] = sa.select(
        *(column.label(name) for name, column in zip(_NAMES, kind, strict=True)),
        at.label("at"),
        _stretch(at, edges, 0).label("stretch"),
    )
    each = dialect_of(connection.dialect).through(each, shape.table, shape.index)
    known = each.where(*which).subquery().c
    same = {
        name: column
        for name, column in zip(_NAMES, kind, strict=True)
        if isinstance(column, sa.BindParameter)
    }
    shown: list[Column] = [same.get(name, known[name]) for name in _NAMES]
    by: list[Column] = [known[name] for name in _INDEXED if name not in same]
    return shown, by, known.at, known.stretch


def _stretch(moment: Column, edges: Sequence[datetime], first: int) -> Column:
    """How many of the edges are not after a moment: halved again and again, as few comparisons."""
    if not edges:
        return sa.literal(first, sa.Integer())
    middle = len(edges) // 2
    return sa.case(
        (moment < edges[middle], _stretch(moment, edges[:middle], first)),
        else_=_stretch(moment, edges[middle + 1 :], first + middle + 1),
    )


def _read(rows: Iterable[Any], nameless: str) -> Iterable[tuple[dict[str, Any], Any]]:
    """What tallies and groups have in common, and the last column."""
    for error_type, handler, group, count, first_at, last_at, rest in rows:
        yield (
            {
                "error_type": error_type or "",
                "handler": handler or nameless,
                "consumer_group": group or "",
                "count": int(count),
                "first_at": first_at.astimezone(UTC),
                "last_at": last_at.astimezone(UTC),
            },
            rest,
        )


def _numbers(edges: int, listed: str) -> tuple[int, ...]:
    """How many there are in each stretch, from a list of stretches, of which some say how many."""
    counts = [0] * (edges + 1)
    for one, times in Counter(listed.split(",")).items():
        stretch, _, count = one.partition(":")
        counts[int(stretch)] += int(count or 1) * times
    return tuple(counts[1:edges])
