"""The figures of the README: a thousandth of each by default, all with HYPOTHESIS_PROFILE=deep.

Hypothesis gives each example a seed: trees that it draws piece by piece take twenty times as long
(the other tests of this folder have those).
"""

import math
import struct
import time as clock
from dataclasses import fields
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from random import Random
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varco_query import (
    AndNode,
    ComparisonNode,
    Limits,
    NotNode,
    Operation,
    OrNode,
    QueryError,
    QueryParser,
    TransformerNode,
    compile_predicate,
    optimize,
    render,
)
from varco_query._operation import LISTS, TEXTS
from varco_query.testing import CASES, ROWS, SCHEMA, Sample

NULLS = {Operation.IS_NULL, Operation.IS_NOT_NULL}
NAMES = ("a", "b", "pk", "and", "OR", "Not", "null", "in", "all", "p1d", "é", "नाम", "℘")
LETTERS = "ab %_'\"\\\n\r\t`;()\x1b\u2028é😀"
LIMITS = Limits(max_length=10**9, max_depth=10**6, max_terms=10**6, max_digits=4_200)
seeds = st.randoms(use_true_random=True)


def tree(random, leaf, size):
    node = bushy(random, leaf, size)
    for _ in range(random.choice((0, 0, 0, random.randrange(Limits().max_depth)))):
        parts = [node, leaf(random)]
        random.shuffle(parts)
        node = random.choice((AndNode, OrNode))(*parts)
        node = NotNode(node) if random.random() < 0.2 else node
    return node


def bushy(random, leaf, size):
    if size <= 1:
        return leaf(random)
    kind = random.choice((AndNode, OrNode, NotNode))
    if kind is NotNode:
        return NotNode(bushy(random, leaf, size - 1))
    number = random.randrange(6)
    return kind(*[bushy(random, leaf, size // number) for _ in range(number)])


def any_text(random):
    characters = [
        random.choice(LETTERS) if random.random() < 0.8 else chr(random.randrange(1, 0x110000))
        for _ in range(random.randrange(8))
    ]
    return "".join(each for each in characters if not "\ud800" <= each <= "\udfff")


def any_decimal(random):
    exponent = random.choice((0, -1, -2, -30, 5, random.randrange(-200, 200)))
    return Decimal(random.getrandbits(random.choice((4, 40, 300)))).scaleb(exponent)


def any_float(random):
    (number,) = struct.unpack("d", random.randbytes(8))
    return number if math.isfinite(number) else random.uniform(-1e3, 1e3)


def any_datetime(random):
    naive = datetime.min + timedelta(  # noqa: DTZ901  # some have no zone
        days=random.randrange(3_652_059), microseconds=random.randrange(86_400 * 10**6)
    )
    return naive.replace(tzinfo=random.choice((None, UTC)))


SCALARS = (
    lambda random: random.random() < 0.5,
    lambda random: random.choice((1, -1)) * random.getrandbits(random.choice((1, 8, 64, 9_000))),
    any_float,
    any_decimal,
    any_text,
    any_text,
    any_datetime,
    lambda random: date.min + timedelta(days=random.randrange(3_652_059)),
    lambda random: time(random.randrange(24), random.randrange(60), 0, random.randrange(10**6)),
    lambda random: timedelta(random.randrange(-(10**8), 10**8), random.randrange(86_400), 5),
    lambda random: UUID(int=random.getrandbits(128)),
)


def any_scalar(random):
    return random.choice(SCALARS)(random)


def any_pattern(random):
    return "".join(random.choices(("%", "_", "\\%", "\\_", "\\\\", "a", "é", "\n"), k=5))


def value_for(random, op, scalar):
    if op in NULLS:
        return None
    if op in {Operation.LIKE, Operation.ILIKE}:
        return any_pattern(random)
    if op in TEXTS:
        return any_text(random)
    if op in LISTS:
        number = 2 if op is Operation.BETWEEN else random.randrange(4)
        return [scalar(random) for _ in range(number)]
    return scalar(random)


def any_comparison(random):
    op = random.choice(list(Operation))
    field = ".".join(random.choices(NAMES, k=random.choice((1, 1, 2, 3))))
    return ComparisonNode(field, op, value_for(random, op, any_scalar))


# Values of the rows, so that comparisons meet.
VALUES = {
    field.name: [getattr(row, field.name) for row in ROWS if getattr(row, field.name) is not None]
    for field in fields(Sample)
}
OPERATIONS = {name: sorted(SCHEMA.field(name).operations) for name in VALUES}


def sample_comparison(random):
    field = random.choice(list(VALUES))
    op = random.choice(OPERATIONS[field])
    return ComparisonNode(
        field, op, value_for(random, op, lambda random: random.choice(VALUES[field]))
    )


def sample(random, pk):
    return Sample(
        pk=pk,
        **{
            name: random.choice(values)
            for name, values in VALUES.items()
            if name != "pk" and random.random() < 0.7
        },
    )


@given(seeds)
def test_trees_come_back_from_their_text(random):
    node = tree(random, any_comparison, random.choice((1, 5, 20, 60)))
    text = render(node)
    again = QueryParser(limits=LIMITS)._parse_text(text)
    assert again == node
    assert render(again) == text


def selected(node, rows):
    selects = compile_predicate(node)
    return [selects(row) for row in rows]


@given(seeds)
def test_the_optimizer_keeps_the_meaning(random):
    node = tree(random, sample_comparison, random.choice((1, 5, 20, 60)))
    rows = [sample(random, pk) for pk in range(6)]
    smaller = optimize(node)
    assert selected(smaller, rows) == selected(node, rows)
    # What is not selected by a tree nor by its negation is unknown: that stays so too.
    assert selected(~smaller, rows) == selected(~node, rows)
    assert optimize(smaller) == smaller


WORDS = """
a pk title author.name `and` __class__ = == != > >= < <= ! LIKE ilike CONTAINS IN NOT startswith
ENDSWITH between IS NULL null and AND or OR not ( ) , ALL( any( true (((( 1 -42 1.5 1e3 1e400
99999999999999999999999999 2026-01-31 2026-01-31T08:00Z 08:30 P1DT2H . - + ; # -- /* 'x' '' "y" ' "
12345678-1234-5678-1234-567812345678 PT ` \\ '\\q' é ١ 'it\\'s'
"""
PIECES = (*WORDS.split(), "\0", "\ud800", "\u2028", "\t", "\n", " ", "")
TEXTS_OF_CASES = [text for text, _ in CASES]
PARSERS = (QueryParser(), QueryParser(SCHEMA))
PARTS = 20


def outcome(parser, text):
    try:
        return parser._parse_text(text)
    except QueryError as error:
        return error


@pytest.mark.parametrize("part", range(PARTS))
def test_inputs_take_as_long_as_they_are(part):
    random = Random(part)
    outcome(PARSERS[0], "a")  # the first one makes the parser
    for number in range(settings().max_examples * 10 // PARTS):
        if number % 2:
            text = " ".join(random.choices(PIECES, k=random.randrange(12)))
        else:
            text = random.choice(TEXTS_OF_CASES)
            for _ in range(random.randrange(1, 4)):
                place = random.randrange(len(text) + 1)
                text = text[:place] + random.choice(PIECES) + text[place + random.randrange(3) :]
        start = clock.thread_time()
        for parser in PARSERS:
            found = outcome(parser, text)
            assert isinstance(found, TransformerNode) or str(found), text
        # A thousand times what is usual, so that only another order of growth fails.
        assert clock.thread_time() - start < 1 + 1e-4 * len(text), text
