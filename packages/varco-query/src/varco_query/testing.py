"""What a backend proves itself with: rows, filters and the rows that each filter selects.

Store `ROWS` (instances of `Sample`), run every filter of `CASES` and compare the primary keys;
`sample_nodes()` gives random trees over `Sample` to compare with `compile_predicate`. The
strategies need hypothesis: `pip install 'varco-query[testing]'`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from varco_query._limits import Limits
from varco_query._node import AndNode, ComparisonNode, NotNode, OrNode, TransformerNode
from varco_query._operation import Operation, Takes, operator_of
from varco_query._schema import QuerySchema
from varco_query._value import MAX_BITS, Scalar

try:
    from hypothesis import strategies as st
except ImportError as _error:
    raise ImportError(
        "varco_query.testing needs hypothesis: pip install 'varco-query[testing]'"
    ) from _error

__all__: tuple[str, ...] = (
    "CASES",
    "ROWS",
    "SCHEMA",
    "Sample",
    "fields",
    "nodes",
    "patterns",
    "sample_nodes",
    "samples",
    "scalars",
    "texts",
    "trees",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A row with a field of each type that backends store."""

    pk: int
    title: str | None = None
    count: int | None = None
    ratio: float | None = None
    price: Decimal | None = None
    published: bool | None = None
    created_at: datetime | None = None
    born: date | None = None
    uid: UUID | None = None


SCHEMA: Final = QuerySchema.of(Sample)
"""The fields of `Sample`, all of which a query may use."""

_NOON: Final = datetime(2026, 1, 31, 12, tzinfo=UTC)
_UID: Final = UUID("12345678-1234-5678-1234-567812345678")

ROWS: Final[tuple[Sample, ...]] = (
    Sample(pk=1, title="alpha", count=1, ratio=0.5, price=Decimal("1.10"), published=True),
    Sample(pk=2, title="Alpha", count=2, ratio=1.0, price=Decimal("1.20"), published=False),
    Sample(pk=3, title="50%", count=9007199254740992, created_at=_NOON, born=date(2026, 1, 31)),
    Sample(pk=4, title="50x", count=9007199254740993, created_at=_NOON + timedelta(hours=1)),
    Sample(pk=5, title="a_b", count=-1, born=date(2026, 2, 1), uid=_UID),
    Sample(pk=6, title="axb", count=0, ratio=-0.1, price=Decimal("-0.10")),
    Sample(pk=7, title="éclair"),
    Sample(pk=8, title="ÉCLAIR"),
    Sample(pk=9, title=""),
    Sample(pk=10),
    Sample(pk=11, title="back\\slash"),
    Sample(pk=12, title="alpha "),
    Sample(pk=13, title="two\nlines"),
    Sample(pk=14, title="😀"),
    Sample(pk=15, title="it's"),
)
"""The rows to store: edges of text, numbers, times and null."""

CASES: Final[tuple[tuple[str, frozenset[int]], ...]] = tuple(
    (text, frozenset(pks))
    for text, pks in (
        # Text is compared by code point: case, accents and spaces at the end count.
        ("title = 'alpha'", {1}),
        ("title = 'éclair'", {7}),
        ("title IN ('ALPHA', 'alpha ')", {12}),
        ("title = ''", {9}),
        ("title < 'A'", {3, 4, 9}),
        ("title > 'é'", {7, 14}),
        ("title BETWEEN 'a' AND 'alpha'", {1, 5}),
        (r"title = 'it\'s'", {15}),
        (r"title = 'two\nlines'", {13}),
        # LIKE: a backslash escapes, `_` is one character whatever its bytes, `%` crosses lines.
        ("title LIKE 'alpha%'", {1, 12}),
        ("title LIKE 'ALPHA'", set[int]()),
        (r"title LIKE '50\%'", {3}),
        ("title LIKE '50_'", {3, 4}),
        (r"title LIKE 'a\_b'", {5}),
        ("title LIKE 'a_b'", {5, 6}),
        (r"title LIKE 'back\\\\slash'", {11}),
        (r"title LIKE 'two%lines'", {13}),
        (r"title LIKE 'two_lines'", {13}),
        ("title LIKE '_'", {14}),
        ("title LIKE '%'", {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15}),
        ("title LIKE ''", {9}),
        ("title ILIKE 'ALPHA'", {1, 2}),
        ("title ILIKE 'Éclair'", {7, 8}),
        # CONTAINS, STARTSWITH and ENDSWITH know no special characters.
        ("title CONTAINS '%'", {3}),
        ("title CONTAINS '_'", {5}),
        (r"title CONTAINS '\\'", {11}),
        ("title CONTAINS 'LPHA'", set[int]()),
        ("title STARTSWITH '50'", {3, 4}),
        ("title STARTSWITH '5_'", set[int]()),
        ("title ENDSWITH 'b'", {5, 6}),
        ("title ENDSWITH ''", {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15}),
        # A comparison with null is neither true nor false, whatever is around it.
        ("title IS NULL", {10}),
        ("title = null", {10}),
        ("NOT title IS NOT NULL", {10}),
        ("title != 'alpha' AND pk IN (1, 2, 10)", {2}),
        ("NOT title = 'alpha' AND pk IN (1, 2, 10)", {2}),
        ("title NOT IN ('alpha') AND pk IN (1, 2, 10)", {2}),
        ("title NOT LIKE 'a%' AND pk IN (1, 2, 10)", {2}),
        ("NOT (title = 'alpha' AND pk > 0) AND pk IN (1, 2, 10)", {2}),
        ("NOT (title = 'alpha' AND pk < 0) AND pk IN (1, 2, 10)", {1, 2, 10}),
        ("(title = 'alpha' OR pk = 10) AND pk IN (1, 2, 10)", {1, 10}),
        ("count NOT BETWEEN 0 AND 5 AND pk < 11", {3, 4, 5}),
        # Empty lists and constants.
        ("pk IN ()", set[int]()),
        ("title NOT IN () AND pk IN (1, 10)", {1, 10}),
        ("NOT title IN () AND pk IN (1, 10)", {1, 10}),
        ("ALL() AND pk = 1", {1}),
        ("ANY() OR pk = 1", {1}),
        # Numbers are exact, and a literal takes the type of the field.
        ("count = 9007199254740993", {4}),
        ("count > 9007199254740992", {4}),
        ("count = 1.0", {1}),
        ("price = 1.1", {1}),
        ("price = 1.10", {1}),
        ("price > 1.1", {2}),
        ("price < 0", {6}),
        ("ratio = 0.5", {1}),
        ("ratio = -0.1", {6}),
        ("ratio >= 1", {2}),
        # Booleans.
        ("published = true", {1}),
        ("published != true", {2}),
        ("NOT published = true", {2}),
        ("published IN (true, false)", {1, 2}),
        # Dates and times: instants are compared, without an offset they are UTC.
        ("created_at = 2026-01-31T12:00:00Z", {3}),
        ("created_at = 2026-01-31T12:00", {3}),
        ("created_at = 2026-01-31T13:00:00+01:00", {3}),
        ("created_at > 2026-01-31T13:30:00+01:00", {4}),
        ("created_at >= 2026-01-31", {3, 4}),
        ("created_at = '2026-01-31T12:00:00Z'", {3}),
        ("born = 2026-01-31", {3}),
        ("born > '2026-01-31'", {5}),
        ("uid = 12345678-1234-5678-1234-567812345678", {5}),
        ("uid = '12345678123456781234567812345678'", {5}),
    )
)
"""Filters over `Sample`, each with the primary keys of the rows that it selects."""


def scalars() -> st.SearchStrategy[Scalar]:
    """Values of every type that a node can hold."""
    bound = 2**MAX_BITS - 1
    zones = st.sampled_from((UTC, timezone(timedelta(hours=-7))))
    # Near the ends of time, other zones have no UTC.
    earliest, latest = (_NOON.replace(year=year, tzinfo=None) for year in (2, 9998))
    return st.one_of(
        st.booleans(),
        st.integers() | st.sampled_from((-bound, bound)),
        st.floats(allow_nan=False, allow_infinity=False),
        st.decimals(allow_nan=False, allow_infinity=False, places=None).filter(
            lambda value: abs(value.adjusted()) < 1_000  # noqa: PLR2004  # readable when it fails
        ),
        texts(),
        st.datetimes(),
        st.datetimes(earliest, latest, timezones=zones),
        st.dates(),
        st.times(),
        st.timedeltas(),
        st.uuids(),
    )


def texts() -> st.SearchStrategy[str]:
    """Text that a database can store."""
    return st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


def patterns() -> st.SearchStrategy[str]:
    """Patterns of LIKE."""
    return st.lists(st.sampled_from(("%", "_", "\\%", "\\_", "\\\\", "a", "B", "é", "\n"))).map(
        "".join
    )


def fields() -> st.SearchStrategy[str]:
    """Fields, also those that the language has to quote."""
    names = st.sampled_from(
        ("a", "b", "pk", "and", "OR", "Not", "null", "in", "p1d", "é", "नाम", "℘")
    )
    return st.lists(names, min_size=1, max_size=3).map(".".join)


def nodes(*, max_leaves: int = 20) -> st.SearchStrategy[TransformerNode]:
    """Trees of any comparisons and junctions."""
    leaves = st.sampled_from(Operation).flatmap(
        lambda op: st.builds(ComparisonNode, fields(), st.just(op), _values(op, scalars()))
    )
    return trees(leaves, max_leaves=max_leaves)


def trees(
    leaves: st.SearchStrategy[ComparisonNode], *, max_leaves: int = 20
) -> st.SearchStrategy[TransformerNode]:
    """Trees of the comparisons, also with empty and single AND and OR, or deep ones."""
    # Each step puts a comparison on a heap or combines the top of the heap, and the last one all of
    # it: most trees of st.recursive would be a single comparison under NOTs.
    steps = st.lists(st.one_of(leaves, leaves, _COMBINATIONS), min_size=1, max_size=2 * max_leaves)
    bushy = st.builds(_tree, steps, _JUNCTIONS, st.just(max_leaves))
    parts = st.lists(leaves, min_size=1, max_size=min(5, max_leaves))
    return st.one_of(bushy, bushy, bushy, st.builds(_nested, parts, _LEVELS, _SHAPES))


type _Junction = type[AndNode | OrNode]

_JUNCTIONS: Final[st.SearchStrategy[_Junction]] = st.sampled_from((AndNode, OrNode))
_COMBINATIONS: Final = st.tuples(st.none() | _JUNCTIONS, st.integers(0, 4))
_DEEPEST: Final = Limits().max_depth
_LEVELS: Final = st.integers(1, _DEEPEST)
_WAYS: Final = 8
_SHAPES: Final = st.integers(0, _WAYS**_DEEPEST - 1)


def _tree(
    steps: Sequence[ComparisonNode | tuple[_Junction | None, int]], last: _Junction, left: int
) -> TransformerNode:
    heap: list[TransformerNode] = []
    for step in steps:
        if isinstance(step, ComparisonNode):
            if left:
                heap.append(step)
                left -= 1
            continue
        junction, count = step
        if junction is not None:
            start = max(0, len(heap) - count)
            heap[start:] = [junction(*heap[start:])]
        elif heap:
            heap[-1] = NotNode(heap[-1])
    return heap[0] if len(heap) == 1 else last(*heap)


def _nested(parts: Sequence[ComparisonNode], levels: int, shape: int) -> TransformerNode:
    """A comparison within as many levels; what each level is, a digit of the shape says."""
    node: TransformerNode = parts[0]
    while levels:
        shape, way = divmod(shape, _WAYS)
        beside = parts[levels % len(parts)]
        kind = OrNode if way & 1 else AndNode
        node = kind(beside, node) if way & 2 else kind(node, beside)
        levels -= 1
        if way & 4 and levels:
            node = NotNode(node)
            levels -= 1
    return node


# Values near those of the rows, so that comparisons meet.
_NEAR: Final[dict[str, st.SearchStrategy[Any]]] = {
    "pk": st.integers(0, 16),
    "title": st.sampled_from([row.title for row in ROWS if row.title is not None]),
    "count": st.sampled_from((-1, 0, 1, 2, 9007199254740992, 9007199254740993)),
    "ratio": st.sampled_from((-0.1, 0.0, 0.5, 1.0)),
    "price": st.sampled_from([Decimal(text) for text in ("-0.10", "0.00", "1.10", "1.20")]),
    "published": st.booleans(),
    "created_at": st.sampled_from([_NOON + timedelta(minutes=30) * step for step in range(4)]),
    "born": st.sampled_from([date(2026, 1, 31), date(2026, 2, 1)]),
    "uid": st.sampled_from([_UID, UUID(int=1)]),
}


def sample_nodes(*, max_leaves: int = 20) -> st.SearchStrategy[TransformerNode]:
    """Trees over the fields of `Sample`, with values of their types."""

    def comparison(field: str) -> st.SearchStrategy[ComparisonNode]:
        ops = st.sampled_from(sorted(SCHEMA.field(field).operations or ()))
        return ops.flatmap(
            lambda op: st.builds(
                ComparisonNode, st.just(field), st.just(op), _values(op, _NEAR[field])
            )
        )

    leaves = st.sampled_from(sorted(_NEAR)).flatmap(comparison)
    return trees(leaves, max_leaves=max_leaves)


def samples() -> st.SearchStrategy[list[Sample]]:
    """Rows of `Sample` with distinct primary keys, any other field may be null."""
    optional = {name: st.none() | near for name, near in _NEAR.items() if name != "pk"}
    row = st.fixed_dictionaries(optional)
    return st.lists(row, max_size=8).map(
        lambda rows: [Sample(pk=pk, **values) for pk, values in enumerate(rows)]
    )


def _values(op: Operation, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    match operator_of(op).takes:
        case Takes.NOTHING:
            return st.none()
        case Takes.PATTERN:
            return patterns()
        case Takes.TEXT:
            return texts() | st.sampled_from(("a", "50", "%", ""))
        case Takes.PAIR:
            return st.tuples(values, values)
        case Takes.LIST:
            return st.lists(values, max_size=4)
        case Takes.VALUE:
            return values
