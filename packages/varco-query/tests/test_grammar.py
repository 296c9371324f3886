"""What parses is the grammar: lark alone, with its own lexer, reads the same out of every text."""

import subprocess
import sys
from importlib import resources
from itertools import product
from pathlib import Path

import lark
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varco_query import ComparisonNode, Limits, QueryError, QueryParser, TransformerNode, render
from varco_query._literals import EscapeError, read_scalar, unescape
from varco_query._reading import Reading
from varco_query._table import VALUES
from varco_query.testing import CASES, nodes

GRAMMAR = resources.files("varco_query").joinpath("grammar.lark").read_text("utf-8")
# Two more words in the profile of the figures, `HYPOTHESIS_PROFILE=deep`.
DEEP = settings().max_examples > 1_000
HUGE = Limits(max_length=10**6, max_terms=10**5, max_depth=10**5, max_items=10**5)
PARSER = QueryParser(limits=HUGE)


class _Plain(Reading):
    """The rules as a transformer of lark, which gets terminals as tokens of lark."""

    def __init__(self):
        super().__init__("", ComparisonNode, HUGE)

    def same(self, parts):
        return parts[0]

    def FIELD(self, token):  # noqa: N802  # lark's way
        return token.value.strip("`"), 0

    def STRING(self, token):  # noqa: N802
        return unescape(token[1:-1])

    def NULL(self, _token):  # noqa: N802
        return None


for _kind in VALUES:
    if not hasattr(_Plain, _kind):
        setattr(_Plain, _kind, lambda _self, token: read_scalar(token.type, str(token)))

PLAIN = lark.Lark(
    GRAMMAR, parser="lalr", lexer="contextual", transformer=_Plain(), keep_all_tokens=True
)


def by_lark(text):
    """The tree, or None for what is no filter."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        return None
    try:
        return PLAIN.parse(text)
    except (lark.UnexpectedInput, QueryError, EscapeError):
        return None


def by_us(text):
    try:
        return PARSER._parse_text(text)
    except QueryError:
        return None


def same(text):
    found, expected = by_us(text), by_lark(text)
    return found == expected and type(found) is type(expected)


def test_the_table_is_that_of_the_grammar():
    script = Path(__file__).parents[3] / "scripts" / "generate_parser.py"
    command = [sys.executable, script, "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", [text for text, _ in CASES])
def test_of_every_case(text):
    assert isinstance(by_us(text), TransformerNode)
    assert same(text)


@given(nodes(max_leaves=5))
def test_of_every_tree(node):
    assert by_lark(render(node)) == node


WORDS = ("a = 1", "b IN (2)", "AND", "OR", "NOT", "(", ")", "ALL(", "ANY(", ",")
PARTS = (
    "a",
    "=",
    "LIKE",
    "NOT",
    "IN (",
    "BETWEEN",
    "IS",
    "NULL",
    "AND",
    "OR",
    "1",
    "'x'",
    ",",
    "(",
    ")",
)


@pytest.mark.parametrize("length", range(1, 6 if DEEP else 4))
def test_of_all_words_in_all_orders(length):
    for words in product(WORDS, repeat=length):
        text = " ".join(words)
        assert same(text), text


@pytest.mark.parametrize("length", range(5 if DEEP else 3))
def test_of_all_parts_of_a_comparison_in_all_orders(length):
    for words in product(PARTS, repeat=length):
        text = " ".join(("a", *words))
        assert same(text), text
        assert same(f"b = 2 OR {text} AND c = 3"), text


LETTERS = ("a", "or", "and", "not", "all", "any", "in", "is", "null", "true", "like", "between")
MARKS = ("=", "!=", "<", "(", ")", ",", ".", "`", "'", '"', "\\", "-", "1", "2026-01-31", "T08:00")
OTHERS = ("P1D", "08:30", "1e3", "1.5", "'x'", "é", "١", "\u2028", "\n", " ", " ", " ")


@given(st.lists(st.sampled_from(LETTERS + MARKS + OTHERS), max_size=14).map("".join))
def test_of_words_and_marks_without_space_between(text):
    assert same(text)


@given(
    st.lists(
        st.sampled_from(
            ("a=1", "b<2", "andy=3", "`or`=4", "and", "And", "or", "not", "(", ")", "all(", ",")
        ),
        max_size=24,
    )
)
def test_of_long_sequences(words):
    assert same(" ".join(words))


@given(
    st.sampled_from(("and", "AND", "or")),
    st.lists(st.sampled_from(("a=1", "and=2", "andy=3", "`or`=4", "b in (5)", "(c=6")), max_size=8),
    st.lists(st.sampled_from((" ", "  ", "\n", "")), min_size=16, max_size=16),
)
def test_of_chains(word, operands, spaces):
    gaps = iter(spaces)
    text = "".join(f"{next(gaps)}{word}{next(gaps)}{operand}" for operand in operands)
    assert same(f"z=0{text}")
