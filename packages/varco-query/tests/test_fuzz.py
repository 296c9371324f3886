"""Random and mutated text: a tree that comes back from its text, or our error with a place."""

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varco_query import (
    Limits,
    QueryError,
    QueryParser,
    QuerySyntaxError,
    from_json,
    parse_sort,
    render,
    to_json,
)
from varco_query.testing import CASES, SCHEMA, nodes

LIMITS = Limits()
PARSERS = (QueryParser(), QueryParser(SCHEMA))
PIECES = [
    *[
        "a",
        "pk",
        "title",
        "author.name",
        "`and`",
        "__class__",
        "=",
        "==",
        "!=",
        ">",
        ">=",
        "<",
        "<=",
        "!",
        "LIKE",
        "ilike",
        "CONTAINS",
        "IN",
        "NOT",
    ],
    *[
        "startswith",
        "ENDSWITH",
        "between",
        "IS",
        "NULL",
        "null",
        "and",
        "AND",
        "or",
        "OR",
        "not",
        "(",
        ")",
        ",",
        "ALL(",
        "any(",
        "true",
        "FALSE",
    ],
    *[
        "1",
        "-42",
        "1.5",
        "1e3",
        "1e400",
        "99999999999999999999999999",
        "2026-01-31",
        "2026-01-31T08:00Z",
        "08:30",
        "P1DT2H",
    ],
    *[
        "12345678-1234-5678-1234-567812345678",
        "PT",
        ".",
        "-",
        "+",
        ";",
        "#",
        "--",
        "/*",
        "'x'",
        "''",
        '"y"',
        "'",
        '"',
        "`",
        "\\",
        "'\\q'",
        "é",
        "١",
    ],
    *("'it\\'s'", "\0", "\ud800", "\u2028", "\t", "\n", " ", ""),
]

soup = st.lists(st.sampled_from(PIECES), max_size=30).flatmap(
    lambda pieces: st.sampled_from(("", " ", "\n")).map(lambda joint: joint.join(pieces))
)


@st.composite
def mutated(draw):
    text = draw(nodes(max_leaves=5).map(render) | st.sampled_from([text for text, _ in CASES]))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 5)))
        text = text[:start] + draw(st.sampled_from(PIECES) | st.text(max_size=3)) + text[end:]
    return text


def outcome(call):
    try:
        return call()
    except QueryError as error:
        return error


def check(text):
    for parser in PARSERS:
        found = outcome(lambda parser=parser: parser._parse_text(text))
        if isinstance(found, QueryError):
            assert found.line is not None, text
            assert str(found)
        else:
            assert parser._parse_text(render(found)) == found, text


@given(soup)
def test_words_in_any_order(text):
    check(text)


@given(mutated())
def test_mutations(text):
    check(text)


@given(st.text())
def test_any_text(text):
    check(text)


@given(st.text() | soup)
def test_any_sort(text):
    outcome(lambda: parse_sort(text))


@given(nodes(max_leaves=5), st.data())
def test_mutated_json(node, data):
    text = to_json(node)
    place = data.draw(st.integers(0, len(text)))
    text = text[:place] + data.draw(st.text('[]{},:"0a\\', max_size=3)) + text[place + 1 :]
    outcome(lambda: from_json(text))


HUGE = replace(LIMITS, max_length=10**6, max_terms=10**5, max_depth=10**5, max_items=10**5)

SLOW_IF_QUADRATIC = {
    "spaces": lambda n: "a = 1" + " " * n + "b",
    "spaces first": lambda n: " " * n,
    "a field": lambda n: "a" * n,
    "a path": lambda n: ".".join("a" * (n // 2)),
    "digits": lambda n: "a = " + "1" * n + "x",
    "not closed": lambda n: "a = '" + "x" * n,
    "escapes": lambda n: "a = '" + "\\n" * (n // 2) + "'",
    "escapes not closed": lambda n: "a = '" + "\\\\" * (n // 2),
    "quotes": lambda n: "a = " + "'" * n,
    "parentheses": lambda n: "(" * n,
    "closed parentheses": lambda n: "(" * (n // 2) + "a = 1" + ")" * (n // 2),
    "NOT": lambda n: "NOT " * (n // 4) + "a = 1",
    "AND": lambda n: " AND ".join(["a = 1"] * (n // 10)),
    "AND with an error": lambda n: " AND ".join(["a = 1"] * (n // 10)) + " AND",
    "AND with a late error": lambda n: " AND ".join(["a IN (1)"] * (n // 14)) + " ANDD b = 1",
    "mixed": lambda n: " OR ".join(["a = 1 AND (b LIKE 'x' OR c IS NULL)"] * (n // 40)),
    "a list": lambda n: "a IN (" + "1, " * (n // 3) + "1)",
    "a list with an error": lambda n: "a IN (" + "1, " * (n // 3) + ")",
    "a list of text": lambda n: "a IN (" + "'\\n', " * (n // 6) + "'x')",
    "ALL": lambda n: "ALL(" * (n // 5) + "a = 1" + ")" * (n // 5),
    "all ": lambda n: "all" + " " * n + "x",
    "minus": lambda n: "a = " + "-" * n,
    "duration": lambda n: "a = P" + "1" * n,
    "a value in parentheses": lambda n: "a = " + "(" * (n // 2) + "1" + ")" * (n // 2),
    "text in parentheses": lambda n: "a LIKE " + "(" * (n // 2) + "'x'" + ")" * (n // 2),
    "digits of a second": lambda n: "a = 08:00:00." + "0" * n + "1",
    "zeros of a second": lambda n: "a = 08:00:00." + "0" * n,
    "doubled quotes": lambda n: "a = '" + "''" * (n // 2) + "'",
    "a comma after the last": lambda n: "a IN (" + "1," * (n // 2) + ")",
    "ALL with a comma after the last": lambda n: "ALL(" + "a = 1," * (n // 6) + ")",
    "ALL of lists": lambda n: "ALL(" + "a IN (1)," * (n // 9) + "a = 1)",
    "back quote": lambda n: "`" + "a" * n,
}


@pytest.mark.parametrize("make", SLOW_IF_QUADRATIC.values(), ids=SLOW_IF_QUADRATIC)
def test_time_is_linear_in_length(make):
    parser = QueryParser(limits=HUGE)
    short, long = (_seconds(parser, make(length)) for length in (6_000, 24_000))
    # Four times the length; quadratic would be sixteen times the time.
    assert long < 0.02 or long < 10 * short, (short, long)


def _seconds(parser, text):
    # The best of a few: others use the machine as well.
    spent = []
    for _ in range(3):
        start = time.process_time()
        outcome(lambda: parser._parse_text(text))
        spent.append(time.process_time() - start)
    return min(spent)


@pytest.mark.parametrize(
    "text", ["a > 1 'x'", "a = NULL 'x'", """a > 1 "it's" """, r"a > 1 'it\'s'"]
)
def test_a_closed_text_in_the_wrong_place_is_not_called_open(text):
    with pytest.raises(QuerySyntaxError, match=r"found ['\"]"):
        PARSERS[0].parse_node(text)


def test_an_open_text_is_called_open():
    with pytest.raises(QuerySyntaxError, match="not closed by another '"):
        PARSERS[0].parse_node("a > 1 'x")
