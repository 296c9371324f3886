"""The documented forms, precedence and literals; the README's tables are made from these lists."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from varco_query import (
    AndNode,
    ComparisonNode,
    F,
    InvalidNodeError,
    NotNode,
    Operation,
    OrNode,
    QueryError,
    QueryLimitError,
    QueryParser,
    QuerySyntaxError,
    render,
)

parser = QueryParser()
A, B, C = F.a == 1, F.b == 2, F.c == 3

FORMS = [
    ("title = 'x'", "equal", F.title == "x"),
    ("title == 'x'", "equal", F.title == "x"),
    ("title != 'x'", "not equal; not true for null", F.title != "x"),
    ("pk > 10", "greater", F.pk > 10),
    ("pk >= 10", "greater or equal", F.pk >= 10),
    ("pk < 10", "less", F.pk < 10),
    ("pk <= 10", "less or equal", F.pk <= 10),
    ("title LIKE 'a%_'", "`%` any text, `_` one character", F.title.like("a%_")),
    (r"title LIKE '50\%'", "a backslash takes the meaning away", F.title.like("50\\%")),
    ("title NOT LIKE 'a%'", "the same as `NOT title LIKE 'a%'`", ~F.title.like("a%")),
    ("title ILIKE 'a%'", "LIKE without regard to case", F.title.ilike("a%")),
    ("title NOT ILIKE 'a%'", "its negation", ~F.title.ilike("a%")),
    ("title CONTAINS '50%'", "holds the text; nothing is special", F.title.contains("50%")),
    ("title NOT CONTAINS 'a'", "its negation", ~F.title.contains("a")),
    ("title STARTSWITH 'a'", "begins with the text", F.title.startswith("a")),
    ("title NOT STARTSWITH 'a'", "its negation", ~F.title.startswith("a")),
    ("title ENDSWITH 'a'", "ends in the text", F.title.endswith("a")),
    ("title NOT ENDSWITH 'a'", "its negation", ~F.title.endswith("a")),
    ("pk IN (1, 2)", "one of the values", F.pk.in_([1, 2])),
    ("pk IN ()", "selects nothing", F.pk.in_([])),
    ("pk NOT IN (1, 2)", "none of the values; not true for null", F.pk.not_in([1, 2])),
    ("pk NOT IN ()", "selects everything", F.pk.not_in([])),
    ("pk BETWEEN 1 AND 5", "from 1 to 5, both included", F.pk.between(1, 5)),
    ("pk NOT BETWEEN 1 AND 5", "its negation", ~F.pk.between(1, 5)),
    ("title IS NULL", "null", F.title.is_null()),
    ("title IS NOT NULL", "not null", F.title.is_not_null()),
    ("title = null", "the same as `IS NULL`", F.title.is_null()),
    ("title != null", "the same as `IS NOT NULL`", F.title.is_not_null()),
    ("author.name = 'x'", "a field of a related model", F.author.name == "x"),
    ("pk = (1)", "parentheses around one value", F.pk == 1),
    ("`and` = 1", "a field that is a word of the language", F["and"] == 1),
    ("a = 1 AND b = 2", "both", A & B),
    ("a = 1 OR b = 2", "either", A | B),
    ("NOT a = 1", "not true; unknown stays unknown", ~A),
    ("(a = 1 OR b = 2) AND c = 3", "parentheses", AndNode(OrNode(A, B), C)),
    ("ALL(a = 1, b = 2)", "all of any number, also none", AndNode(A, B)),
    ("ANY(a = 1, b = 2)", "one of any number, also none", OrNode(A, B)),
    ("ALL()", "selects everything", AndNode()),
    ("ANY()", "selects nothing", OrNode()),
]

NAIVE = datetime(2026, 1, 31, 8)  # noqa: DTZ001  # that it has no timezone is what is shown

PRECEDENCE = [
    ("a=1 OR b=2 AND c=3", "a=1 OR (b=2 AND c=3)", OrNode(A, AndNode(B, C))),
    ("a=1 AND b=2 OR c=3", "(a=1 AND b=2) OR c=3", OrNode(AndNode(A, B), C)),
    ("NOT a=1 AND b=2", "(NOT a=1) AND b=2", AndNode(NotNode(A), B)),
    ("NOT a=1 OR b=2", "(NOT a=1) OR b=2", OrNode(NotNode(A), B)),
    ("NOT NOT a=1", "NOT (NOT a=1)", NotNode(NotNode(A))),
    (
        "a=1 OR b=2 OR c=3 AND a=1 AND b=2 OR c=3",
        "a=1 OR b=2 OR (c=3 AND a=1 AND b=2) OR c=3",
        OrNode(A, B, AndNode(C, A, B), C),
    ),
    ("a=1 AND NOT b=2 OR c=3", "(a=1 AND (NOT b=2)) OR c=3", OrNode(AndNode(A, NotNode(B)), C)),
    ("a=1 AND (b=2 AND c=3)", "as written: three ANDs in two nodes", AndNode(A, AndNode(B, C))),
]

LITERALS = [
    ("'it\\'s'", "text", "it's"),
    ('"it\'s"', "text", "it's"),
    (r"'a\nb\tc\\d'", "text with escapes", "a\nb\tc\\d"),
    (r"'\u00e9\U0001F600'", "text with code points", "é\U0001f600"),
    ("'àß中'", "text", "àß中"),
    ("''", "empty text", ""),
    ("42", "integer", 42),
    ("-42", "integer", -42),
    ("9007199254740993", "integer, exact at any size", 9007199254740993),
    ("123456789012345678901234567890", "integer", 123456789012345678901234567890),
    ("0.1", "decimal, exact", Decimal("0.1")),
    ("-12.50", "decimal", Decimal("-12.50")),
    ("1e3", "float: a number with an exponent, as in SQL", 1000.0),
    ("-2.5E-3", "float", -0.0025),
    ("true", "boolean", True),
    ("FALSE", "boolean", False),
    ("2026-01-31", "date", date(2026, 1, 31)),
    ("2026-01-31T08:00", "date and time; without an offset it is UTC", NAIVE),
    (
        "2026-01-31T08:00:00.25+02:00",
        "date and time, kept in UTC",
        datetime(2026, 1, 31, 6, 0, 0, 250000, UTC),
    ),
    ("2026-01-31T08:00:00Z", "date and time", datetime(2026, 1, 31, 8, tzinfo=UTC)),
    ("08:30", "time", time(8, 30)),
    ("08:30:15.5", "time", time(8, 30, 15, 500000)),
    ("08:30:15.123456000", "time; zeros after the sixth digit", time(8, 30, 15, 123456)),
    ("P1DT2H30M", "duration", timedelta(days=1, hours=2, minutes=30)),
    ("-PT0.5S", "duration", timedelta(microseconds=-500000)),
    ("P2W", "duration", timedelta(weeks=2)),
    (
        "12345678-1234-5678-1234-567812345678",
        "UUID",
        UUID("12345678-1234-5678-1234-567812345678"),
    ),
]


@pytest.mark.parametrize(("text", "_meaning", "node"), FORMS)
def test_form(text, _meaning, node):
    assert parser.parse_node(text) == node


@pytest.mark.parametrize(("text", "_same", "node"), PRECEDENCE)
def test_precedence(text, _same, node):
    assert parser.parse_node(text) == node


@pytest.mark.parametrize(("text", "same", "_node"), PRECEDENCE[:-1])
def test_precedence_with_parentheses(text, same, _node):
    assert parser.parse_node(same) == parser.parse_node(text)


@pytest.mark.parametrize(("text", "_kind", "value"), LITERALS)
def test_literal(text, _kind, value):
    for form in (f"x = {text}", f"x IN ({text})", f"NOT (x = {text})", f"NOT x = (( {text} ) )"):
        (node,) = _leaves(parser.parse_node(form))
        found = node.value[0] if node.op is Operation.IN else node.value
        assert (found, type(found)) == (value, type(value))


def _leaves(node):
    return [node] if isinstance(node, ComparisonNode) else _leaves(node.children[0])


@pytest.mark.parametrize("text", [text for text, *_ in FORMS])
def test_words_in_any_case_and_any_white_space(text):
    plain = text.replace("title", "field").replace("author.name", "author.field")
    node = parser.parse_node(plain)
    quoted = "'" in plain or "`" in plain
    if not quoted:
        assert parser.parse_node(plain.lower()) == node
    assert parser.parse_node(f"\n\t {plain.replace(' ', '  ')} ") == node


def test_fields_may_be_named_like_most_words():
    for word in ("in", "is", "like", "between", "contains", "all", "any", "null", "true", "p1d"):
        assert parser.parse_node(f"{word} = 1") == ComparisonNode(word, Operation.EQUAL, 1)
        assert parser.parse_node(f"{word} IS NULL AND {word} IN (1)").children[0].field == word


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("x = 1e400", InvalidNodeError),
        ("x = -1e400", InvalidNodeError),
        ("x = 1e-400", InvalidNodeError),
        ("x = 2026-02-30", InvalidNodeError),
        ("x = 25:00", InvalidNodeError),
        ("x = 08:30:15.1234567", InvalidNodeError),
        ("x IN (08:30, 08:30:15.0000001)", InvalidNodeError),
        ("x = 2026-01-31T08:00:00.123456789Z", InvalidNodeError),
        ("x BETWEEN PT0.0000001S AND PT1S", InvalidNodeError),
        ("x = 2026-01-31T25:00", InvalidNodeError),
        ("x = 0001-01-01T00:00+14:00", InvalidNodeError),
        ("x = P", QuerySyntaxError),
        ("x = PT", QuerySyntaxError),
        ("x = P1Y", QuerySyntaxError),
        ("x = P9999999999999999999999D", InvalidNodeError),
        ("x = 08:30+02:00", QuerySyntaxError),
        ("x = 1.", QuerySyntaxError),
        ("x = .5", QuerySyntaxError),
        ("x = 0x10", QuerySyntaxError),
        ("x = 1_000", QuerySyntaxError),
        ("x = inf", QuerySyntaxError),
        ("x = NaN", QuerySyntaxError),
        ("x = ١٢", QuerySyntaxError),
        (r"x = '\q'", QuerySyntaxError),
        (r"x = '\ud800'", QuerySyntaxError),
        (r"x = '\u0000'", QuerySyntaxError),
        ("x = '\0'", QuerySyntaxError),
        ("x = '\ud800'", QuerySyntaxError),
        ("x > null", InvalidNodeError),
        ("x IN (1, null)", InvalidNodeError),
        ("x BETWEEN null AND 1", InvalidNodeError),
        (r"x LIKE 'a\\'", InvalidNodeError),
        ("x LIKE 5", QuerySyntaxError),
        ("x = " + "9" * 101, QueryLimitError),
    ],
)
def test_what_is_no_value(text, error):
    with pytest.raises(QueryError) as caught:
        parser.parse_node(text)
    assert type(caught.value) is error
    assert caught.value.line == 1


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("title LIKE ('a%')", F.title.like("a%")),
        ("title NOT LIKE (( 'a%' ))", ~F.title.like("a%")),
        ("pk BETWEEN (1) AND ((5))", F.pk.between(1, 5)),
        ("pk NOT BETWEEN (1) AND 5", ~F.pk.between(1, 5)),
        ("pk IN ((1), 2, (3))", F.pk.in_([1, 2, 3])),
        ("pk NOT IN (1, (2))", F.pk.not_in([1, 2])),
        ("title = (null)", F.title.is_null()),
        ("(pk = (1)) AND NOT(pk=(2))OR pk>(3)", (F.pk == 1) & ~(F.pk == 2) | (F.pk > 3)),
    ],
)
def test_one_value_may_stand_in_parentheses(text, node):
    assert parser.parse_node(text) == node


@pytest.mark.parametrize("text", ["a = (1, 2)", "a = ()", "a = (1", "a LIKE (1)", "a = (b = 1)"])
def test_parentheses_hold_one_value(text):
    with pytest.raises(QuerySyntaxError):
        parser.parse_node(text)


@pytest.mark.parametrize("text", [None, "", " ", "\n\t  ", "\u2003"])
def test_an_empty_filter_selects_everything(text):
    assert parser.parse(text, limit=3, sort="a") == parser.parse(limit=3, sort="a")
    assert parser.parse(text).node is None


@pytest.mark.parametrize(
    "text", ["a=1 b=2", "a=1 b=2 AND c=3", "a=1 AND b=2 c=3", "AND a=1", "(a=1) b=2"]
)
def test_nothing_is_dropped(text):
    with pytest.raises(QuerySyntaxError):
        parser.parse_node(text)


@pytest.mark.parametrize("node", [node for *_, node in FORMS + PRECEDENCE])
def test_rendered_forms_parse_to_the_same(node):
    assert parser.parse_node(render(node)) == node


def test_the_readme_shows_every_form():
    readme = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    for table in tables():
        assert table in readme, f"put this into the README:\n{table}"


def tables():
    def row(*cells):
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    yield "\n".join(
        [
            "| form | meaning |",
            "|---|---|",
            *(row(f"`` {f} ``" if "`" in f else f"`{f}`", m) for f, m, _ in FORMS),
        ]
    )
    yield "\n".join(
        [
            "| text | means |",
            "|---|---|",
            *(row(f"`{f}`", f"`{m}`" if "=" in m else m) for f, m, _ in PRECEDENCE),
        ]
    )
    yield "\n".join(
        [
            "| literal | is | in Python |",
            "|---|---|---|",
            *(row(f"`{f}`", m, f"`{v!r}`") for f, m, v in LITERALS),
        ]
    )
