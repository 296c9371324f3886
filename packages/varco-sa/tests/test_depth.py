"""Every filter within the limits of the language runs on every engine, in its worst shape too."""

import asyncio
import functools

import pytest
from hypothesis import settings

from varco_domain.model import DomainModel
from varco_query import (
    AndNode,
    F,
    Limits,
    QueryLimitError,
    QueryParams,
    QueryParser,
    QuerySchema,
    compile_predicate,
)

# All ways to join in all shapes: `HYPOTHESIS_PROFILE=deep`.
DEEP = settings().max_examples > 1_000
DEEPEST = Limits().max_depth
MOST = Limits().max_terms


class Leaf(DomainModel):
    number: int
    text: str
    mark: int = 0


ROWS = [Leaf(number=number, text=text) for number in range(4) for text in ("a", "B", "ς")]
PARSER = QueryParser(QuerySchema.of(Leaf))
# Of the comparisons, those that need most of a parser.
COMPARISONS = (
    "number = {}",
    "number NOT IN ({}, 7)",
    "number NOT BETWEEN {} AND 2",
    "text NOT ILIKE '{}%B'",
    "NOT text ILIKE '%{}B'",
)


def comparison(number):
    return COMPARISONS[number % len(COMPARISONS)].format(number % 4)


def right(levels, joint):
    text = comparison(levels)
    for number in range(levels):
        text = f"({comparison(number)} {joint(number)} {text})"
    return text


def left(levels, joint):
    text = comparison(levels)
    for number in range(levels):
        text = f"({text} {joint(number)} {comparison(number)})"
    return text


def either(levels, joint):
    text = comparison(levels)
    for number in range(levels):
        sides = [text, comparison(number)]
        text = f"({f' {joint(number)} '.join(sides[:: 1 - number % 2 * 2])})"
    return text


def under_not(levels, joint):
    text = comparison(levels)
    for number in range(levels // 2):
        text = f"NOT ({comparison(number)} {joint(number // 2)} {text})"
    return text


def two_kinds(levels, joint):
    """Each parenthesis holds an OR of an AND: twice as many groups as parentheses."""
    text = comparison(levels)
    for number in range(levels):
        text = f"({comparison(number)} OR {comparison(number + 1)} AND {text})"
    return text


def bushy_end(levels, joint):
    """A long way down, and then as many branches as the terms allow, all of them deep."""

    def branches(depth):
        if depth == 0:
            return comparison(depth)
        low, high = branches(depth - 1), branches(depth - 1)
        return f"({low} {joint(depth)} {high})"

    text = branches(9)
    for number in range(levels - 9):
        text = f"({comparison(number)} {joint(number)} {text})"
    return text


def bushy_start(levels, joint):
    """Branches first, and then a long way down in each."""

    def branches(depth):
        if depth == 0:
            return right(levels - 4, joint)
        return f"({branches(depth - 1)} {joint(depth)} {branches(depth - 1)})"

    return branches(4)


def wide(levels, joint):
    """Long chains within one another."""
    text = comparison(levels)
    each = MOST // (levels + 1) - 1
    for number in range(levels):
        many = f" {joint(number)} ".join(comparison(one) for one in range(each))
        text = f"({many} {joint(number)} {text})"
    return text


def chain(levels, joint):
    return f" {joint(0)} ".join(comparison(number) for number in range(MOST))


SHAPES = (right, left, either, under_not, two_kinds, bushy_end, bushy_start, wide, chain)
JOINTS = {
    "and in or": lambda number: ("AND", "OR")[number % 2],
    "or in and": lambda number: ("OR", "AND")[number % 2],
    "all and": lambda _: "AND",
    "all or": lambda _: "OR",
}


@pytest.fixture(scope="module")
def loop():
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def repo(databases, kind, loop):
    opened = databases.shared(kind, Leaf)
    backend = loop.run(opened.__aenter__())
    repo = backend.uow_provider.get_repository(Leaf)
    loop.run(repo.save_many(ROWS))
    yield repo
    loop.run(opened.__aexit__(None, None, None))


WAYS = ("rows", "one", "number", "update")


async def ask(repo, node, ways=WAYS):
    """What a filter is asked for: rows, a number, one row by its key, and an update."""
    rows, selects = await repo.find_all(), compile_predicate(node)
    wanted = {each.pk for each in rows if selects(each)}
    # As services do: within the rows that the caller may see.
    params = QueryParams(AndNode(node, F.number >= 0))
    if "rows" in ways:
        assert {each.pk for each in await repo.find_by_query(params)} == wanted
    if "number" in ways:
        assert await repo.count(params) == len(wanted)
    if "one" in ways:
        assert await repo.exists(rows[0].pk, where=params.node) is (rows[0].pk in wanted)
    if "update" in ways:
        assert await repo.update_many_by_query(params, {"mark": 1}) == len(wanted)


# One less: the NOT of a comparison is a level too. Some shapes are the same with several joints.
TEXTS = {
    shape(DEEPEST - 1, JOINTS[joint]): f"{shape.__name__}-{joint}"
    for joint in reversed(JOINTS)
    for shape in SHAPES
    # What one word joins is a chain, however it is written, unless a NOT turns it round.
    if DEEP or not joint.startswith("all") or shape in {chain, under_not}
}


@functools.cache
def parsed(text):
    return PARSER.parse(text).node


@pytest.mark.parametrize("text", TEXTS, ids=TEXTS.values())
def test_the_deepest_filter_of_a_shape(repo, loop, text):
    # The two joints of a shape are as deep as each other: they share the ways.
    name, ways = TEXTS[text], WAYS
    if not DEEP and not name.startswith("two_kinds"):  # which is the same with every joint
        ways = WAYS[:2] if name.endswith("or") else WAYS[2:]
    loop.run(ask(repo, parsed(text), ways))


def nested(levels):
    node = F.number == 1
    for number in range(levels):
        node = (F.number != number) & ((F.text == "a") | node)
    return node


def test_a_deeper_filter_is_asked_in_another_way_or_refused(repo, loop):
    loop.run(ask(repo, nested(200)))
    with pytest.raises(QueryLimitError) as caught:
        loop.run(repo.count(QueryParams(nested(10_000))))
    assert caught.value.name == "max_depth"


def test_what_is_too_large_is_refused_in_the_words_of_the_limits(repo, loop, kind):
    many = AndNode(*[F.number != number for number in range(33_000)])
    with pytest.raises(QueryLimitError) as caught:
        loop.run(repo.count(QueryParams(many)))
    assert caught.value.name == "max_terms"
    with pytest.raises(QueryLimitError) as caught:
        loop.run(repo.count(QueryParams(F.number.in_(range(33_000)))))
    assert caught.value.name == "max_items"
    if kind == "sqlite":
        with pytest.raises(QueryLimitError) as caught:
            loop.run(repo.count(QueryParams(F.text.contains("a" * 60_000))))
        assert caught.value.name == "max_length"
