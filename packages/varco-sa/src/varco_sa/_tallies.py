"""Counting failures by what failed and when."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import sqlalchemy as sa

from varco_events import FailureGroup, FailureTally
from varco_sa._dialects import dialect_of
from varco_sa._types import Text

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
    shown, by, moment, stretch = _known(kind, at, which, edges)
    when = [stretch] if edges else []
    counted = (sa.func.count(), sa.func.min(moment), sa.func.max(moment))
    statement = sa.select(*shown, *counted, *(when or [sa.literal(0)])).group_by(*by, *when)
    rows: Any = connection.execute(statement)
    return [
        FailureTally(**common, stretch=int(stretch)) for common, stretch in _read(rows, nameless)
    ]


def groups(
    connection: sa.Connection,
    kind: Sequence[Column],
    at: Column,
    which: Sequence[Column],
    edges: Sequence[datetime],
    nameless: str,
) -> list[FailureGroup]:
    """The same with a row for each error and handler: there are far fewer than stretches."""
    shown, by, moment, stretch = _known(kind, at, which, edges)
    dialect = dialect_of(connection.dialect)
    texts: list[str] = []
    number, first, last = sa.func.count(), sa.func.min(moment), sa.func.max(moment)
    if dialect.sorts_to_group:
        listed = sa.func.aggregate_strings(sa.type_coerce(moment, Text()), ",")
        statement = sa.select(*shown, number, first, last, listed).group_by(*by)
        texts = [str(dialect.store_moment(edge.astimezone(UTC))) for edge in edges]
    else:
        counted = (number.label("number"), first.label("first"), last.label("last"), stretch)
        named = [column.label(name) for column, name in zip(shown, _NAMES, strict=True)]
        inner = sa.select(*named, *counted).group_by(*by, stretch).subquery().c
        text = sa.cast(inner.stretch, sa.String()) + ":" + sa.cast(inner.number, sa.String())
        outer = [inner[name] for name in _NAMES]
        spans = (sa.func.sum(inner.number), sa.func.min(inner.first), sa.func.max(inner.last))
        statement = sa.select(*outer, *spans, sa.func.aggregate_strings(text, ","))
        statement = statement.group_by(*outer)
    return [
        FailureGroup(
            **common, counts=_between(texts, listed) if texts else _numbers(len(edges), listed)
        )
        for common, listed in _read(connection.execute(statement), nameless)
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
    number, first = sa.func.count().label("number"), sa.func.min(at).label("first")
    each = sa.select(channel.label("channel"), number, first)
    known = each.where(which).group_by(*line, channel).subquery().c
    statement = sa.select(known.channel, sa.func.sum(known.number), sa.func.min(known.first))
    return {
        channel: (int(number), first.astimezone(UTC))
        for channel, number, first in connection.execute(statement.group_by(known.channel))
    }


def _known(
    kind: Sequence[Column], at: Column, which: Sequence[Column], edges: Sequence[datetime]
) -> tuple[list[Column], list[Column], Column, Column]:
    """The kind as it is shown, what of it varies, the moment, and the stretch of time.

    In a subquery: an engine cannot tell that two expressions with parameters are the same. And to
    group by what is the same in all rows, one may sort them.
    """
    each: sa.Select[*tuple[Any, ...]] = sa.select(
        *(column.label(name) for name, column in zip(_NAMES, kind, strict=True)),
        at.label("at"),
        _stretch(at, edges, 0).label("stretch"),
    )
    known = each.where(*which).subquery().c
    shown, by = list[Column](), list[Column]()
    for name, column in zip(_NAMES, kind, strict=True):
        if isinstance(column, sa.BindParameter):
            shown.append(column)
        else:
            shown.append(known[name])
            by.append(known[name])
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


def _between(edges: Sequence[str], listed: str) -> tuple[int, ...]:
    """How many of the moments in a list lie between each two edges, as they are stored."""
    moments = sorted(listed.split(","))
    places = [bisect_left(moments, edge) for edge in edges]
    return tuple(end - start for start, end in pairwise(places))


def _numbers(edges: int, listed: str) -> tuple[int, ...]:
    """Likewise, of stretches and their counts in a list."""
    counts = [0] * (edges + 1)
    for one in listed.split(","):
        stretch, _, count = one.partition(":")
        counts[int(stretch)] = int(count)
    return tuple(counts[1:edges])
