import pickle
from dataclasses import dataclass

import pytest

import varco_query
from varco_query import (
    CoercionError,
    CursorError,
    F,
    InvalidNodeError,
    Limits,
    OperationNotSupportedError,
    QueryError,
    QueryLimitError,
    QueryParser,
    QuerySchema,
    QuerySyntaxError,
    UnknownFieldError,
    walk,
)


@dataclass
class Post:
    pk: int
    title: str
    published: bool
    body: str


schema = QuerySchema.of(Post, exclude=["body"])
parser = QueryParser()
strict = QueryParser(schema)


def error_of(text, parser=parser):
    with pytest.raises(QueryError) as caught:
        parser.parse_node(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "column", "found", "expected"),
    [
        ("", 1, "the end of the filter", ("a field", "(", "NOT", "ALL(", "ANY(")),
        ("   ", 1, "the end of the filter", ("a field", "(", "NOT", "ALL(", "ANY(")),
        ("a =", 4, "the end of the filter", ("a value",)),
        ("a = b", 5, "'b'", ("a value",)),
        ("a = 1 b = 2", 7, "'b'", ("AND", "OR", "the end of the filter")),
        ("(a = 1", 7, "the end of the filter", ("AND", "OR", ")")),
        ("a = 1)", 6, "')'", ("AND", "OR", "the end of the filter")),
        ("a = 1 AND", 10, "the end of the filter", ("a field", "(", "NOT", "ALL(", "ANY(")),
        ("a IN (1 2)", 9, "'2'", (",", ")")),
        ("a IN (1,)", 9, "')'", ("a value",)),
        ("a IN (", 7, "the end of the filter", ("a value", ")")),
        ("a IS 5", 6, "'5'", ("NOT", "NULL")),
        ("a LIKE 5", 8, "'5'", ("text in quotes",)),
        ("a BETWEEN 1 OR 2", 13, "'OR'", ("AND",)),
        ("a BETWEEN 1 AND b = 2", 17, "'b'", ("a value",)),
        ("= 1", 1, "'='", ("a field", "(", "NOT", "ALL(", "ANY(")),
        ("a = 1 AND OR b = 2", 11, "'OR'", ("a field", "(", "NOT", "ALL(", "ANY(")),
        ("a = 12abc", 5, "'12abc'", ("a value",)),
        ("a = $", 5, "'$'", ("a value",)),
        ("ALL(a = 1", 10, "the end of the filter", ("AND", "OR", ",", ")")),
    ],
)
def test_syntax_errors_say_where_and_what(text, column, found, expected):
    error = error_of(text)
    assert isinstance(error, QuerySyntaxError)
    assert (error.line, error.column, error.found) == (1, column, found)
    assert error.expected == expected
    assert error.text == text


def test_the_text_is_shown_with_a_caret():
    assert str(error_of("published = true AN pk > 10")) == (
        "expected AND, OR or the end of the filter, found 'AN'; did you mean AND? "
        "(line 1, column 18)\n"
        "published = true AN pk > 10\n"
        "                 ^"
    )


def test_the_line_of_a_longer_text_is_shown():
    error = error_of("a = 1 AND\nb == == 2\nAND c = 3")
    assert (error.line, error.column) == (2, 6)
    assert error.caret() == "b == == 2\n     ^"


def test_of_a_long_line_the_part_around_the_place_is_shown():
    text = " AND ".join(f"field_{n} = {n}" for n in range(100)) + " AND ?"
    shown, caret = error_of(text).caret().split("\n")
    assert len(shown) < 90
    assert shown[len(caret) - 1] == "?"
    assert shown.startswith("…")


def test_control_characters_do_not_reach_the_terminal():
    error = error_of("a = 1 \x1b[31m")
    assert "\x1b" not in str(error)


def test_hints():
    assert "text needs quotes" in str(error_of("title = hello"))
    assert "did you mean LIKE?" in str(error_of("title LKE 'x'"))
    assert "did you mean BETWEEN?" in str(error_of("title BETWEN 1 AND 2"))


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("a IN (1,)", 9),
        ("a IN (1, 2 , )", 14),
        ("a NOT IN ('x',)", 15),
        ("b = 1 AND NOT (a IN ((1),))", 26),
        ("ALL(a = 1,)", 11),
        ("ANY(a = 1, b IN (2), )", 22),
    ],
)
def test_a_comma_after_the_last_of_a_list(text, column):
    error = error_of(text)
    assert isinstance(error, QuerySyntaxError)
    assert error.column == column
    assert "no comma may stand after the last of a list" in error.message


@pytest.mark.parametrize(
    ("text", "column", "quote"),
    [
        ("a = 'o''reilly'", 8, "'"),
        ("a IN ('x', 'o''reilly')", 15, "'"),
        ("a LIKE 'o''%' OR b = 1", 11, "'"),
        ("a = 'o''reilly", 8, "'"),
        ("a = ''''", 7, "'"),
        ("a = ('it's')", 10, "'"),
        ('a = "say ""hi"""', 11, '"'),
    ],
)
def test_a_quote_inside_quotes(text, column, quote):
    error = error_of(text)
    assert isinstance(error, QuerySyntaxError)
    assert error.column == column
    assert f"inside {quote} quotes a {quote} is written \\{quote}" in error.message
    assert parser.parse_node(r"a = 'o\'reilly'") == (F.a == "o'reilly")


@pytest.mark.parametrize("text", ["a = 'x')", "a = 'x', b = 1", "a = 'x' 'y'", "a = 'x'= 1"])
def test_of_a_mark_after_a_text_no_quote_is_suspected(text):
    assert "quotes" not in error_of(text).message


@pytest.mark.parametrize(
    "text",
    [
        "a = 08:30:15.1234567",
        "b = 1 AND a IN (2026-01-31T08:00:00.12345678Z)",
        "a = (PT1.1234567S)",
        "a > 2026-01-31T08:00:00.000000001",
    ],
)
def test_seconds_finer_than_can_be_kept(text):
    error = error_of(text)
    assert type(error) is InvalidNodeError
    assert "more than six digits" in error.message
    assert error.column is not None
    assert error.caret().split("\n")[0] == text


def test_text_that_is_not_closed():
    error = error_of("a = 1 AND title = 'oh\nno")
    assert isinstance(error, QuerySyntaxError)
    assert (error.line, error.column) == (1, 19)
    assert "not closed" in str(error)


def test_an_escape_that_is_none():
    error = error_of(r"a = 1 AND title = 'a\qb'")
    assert (error.column, error.found) == (21, r"\q")
    assert r"\n" in error.expected


@pytest.mark.parametrize(
    "field", ["__class__", "__init__.x", "metadata", "body", "pk.real", "title.__len__", "nope"]
)
def test_all_fields_outside_the_schema_are_unknown_alike(field):
    for form in (f"{field} = 1", f"pk = 1 AND {field} IN (1)", f"NOT ({field} IS NULL)"):
        error = error_of(form, strict)
        assert type(error) is UnknownFieldError
        assert error.field == field
        assert error.known == ("pk", "title", "published")
        assert "(the fields are pk, title, published)" in str(error)
        assert form[error.column - 1 :].startswith(field)
    with pytest.raises(UnknownFieldError):
        strict.parse("pk = 1", sort=f"-{field}")
    with pytest.raises(UnknownFieldError):
        schema.comparison(field, varco_query.Operation.EQUAL, 1)


@pytest.mark.parametrize("field", ["__class__", "__init__.x", "a.__dict__"])
def test_python_names_are_unknown_without_a_schema_too(field):
    assert type(error_of(f"{field} = 1")) is UnknownFieldError
    with pytest.raises(UnknownFieldError):
        parser.parse(sort=field)
    with pytest.raises(UnknownFieldError):
        F[field]


def test_a_close_match_is_suggested():
    error = error_of("titel = 'x'", strict)
    assert error.suggestion == "title"
    assert "unknown field 'titel'; did you mean 'title'?" in str(error)
    assert error_of("xyz = 1", strict).suggestion is None


def test_operations_and_types_name_the_field():
    error = error_of("pk LIKE 'x'", strict)
    assert type(error) is OperationNotSupportedError
    assert (error.op, error.field) == ("LIKE", "pk")
    assert "BETWEEN" in error.allowed
    error = error_of("pk = 'x'", strict)
    assert type(error) is CoercionError
    assert (error.field, error.value, error.expected) == ("pk", "x", "a whole number")
    assert "field 'pk' needs a whole number, not str 'x'" in str(error)


@pytest.mark.parametrize(
    ("limits", "text", "name"),
    [
        (Limits(max_length=5), "a = 10", "max_length"),
        (Limits(max_terms=2), "a = 1 AND b = 1 AND c = 1", "max_terms"),
        (Limits(max_terms=2), "a = 1 AND (b = 1 OR c = 1)", "max_terms"),
        (Limits(max_terms=2), "a IN (1) AND b IN (1) AND c IN (1)", "max_terms"),
        (Limits(max_terms=0), "a = 1", "max_terms"),
        (Limits(max_depth=2), "(((a = 1)))", "max_depth"),
        (Limits(max_depth=2), "NOT NOT NOT a = 1", "max_depth"),
        (Limits(max_depth=2), "a = (((1)))", "max_depth"),
        (Limits(max_depth=2), "a LIKE ((('x')))", "max_depth"),
        (Limits(max_depth=2), "((a NOT LIKE 'x'))", "max_depth"),
        (Limits(max_depth=2), "((a NOT BETWEEN 1 AND 2))", "max_depth"),
        (Limits(max_depth=2), "NOT (NOT a IN (1))", "max_depth"),
        (Limits(max_depth=2), "ALL(ALL(ALL(a = 1)))", "max_depth"),
        (Limits(max_items=2), "a IN (1, 2, 3)", "max_items"),
        (Limits(max_items=2), "a NOT IN (1, 2, 3)", "max_items"),
        (Limits(max_items=2), "a IN ('\\n', '\\n', '\\n')", "max_items"),
        (Limits(max_digits=3), "a = 1234", "max_digits"),
        (Limits(max_digits=3), "a IN (1, 1234, 5)", "max_digits"),
        (Limits(max_digits=3), "a = 12.34", "max_digits"),
        (Limits(max_digits=3), "a = 12e34", "max_digits"),
    ],
)
def test_limits(limits, text, name):
    error = error_of(text, QueryParser(limits=limits))
    assert type(error) is QueryLimitError
    assert error.name == name
    assert error.limit == getattr(limits, name)
    larger = Limits(**{name: error.limit + 4})
    assert QueryParser(limits=larger).parse_node(text) is not None


def test_limits_of_depth_are_of_what_is_open_at_once():
    shallow = QueryParser(limits=Limits(max_depth=1))
    text = "(a = 1) AND NOT b = 1 AND (c = 1) OR NOT d IN (1) AND ALL(e = 1)"
    assert len(list(walk(shallow.parse_node(text)))) == 5


def test_limits_of_pages_and_sorts():
    parser = QueryParser(limits=Limits(max_limit=10, max_offset=20, max_sort=1))
    assert parser.parse(limit=10, offset=20, sort="a").limit == 10
    assert QueryParser(limits=Limits(max_sort=0)).parse(sort=" ").sort == ()
    for wrong, name in [
        ({"limit": 11}, "max_limit"),
        ({"offset": 21}, "max_offset"),
        ({"sort": "a,b"}, "max_sort"),
        ({"sort": [F.a.asc(), F.b.asc()]}, "max_sort"),
        ({"sort": "a," * 30_000}, "max_sort"),
        ({"sort": "a" * 70_000}, "max_length"),
    ]:
        with pytest.raises(QueryLimitError, match=name):
            parser.parse(**wrong)
    for wrong in (
        {"limit": -1},
        {"offset": -1},
        {"offset": 2**63},
        {"limit": 2**63},
        {"limit": True},
        {"limit": 1.5},
        {"limit": "5"},
        {"sort": 5},
        {"sort": ["a"]},
        {"cursor": 5},
    ):
        with pytest.raises(InvalidNodeError):
            parser.parse(**wrong)


@pytest.mark.parametrize("wrong", [{"max_terms": -1}, {"max_terms": "9"}, {"max_digits": 5000}])
def test_limits_are_numbers(wrong):
    with pytest.raises(InvalidNodeError):
        Limits(**wrong)


def test_a_filter_is_a_string():
    for wrong in (1, b"a = 1", ["a"]):
        with pytest.raises(InvalidNodeError, match="string"):
            parser.parse_node(wrong)
    assert parser.parse_node(type("Text", (str,), {})("a = 1")) == (F.a == 1)


def test_errors_have_codes_and_survive_pickling():
    codes = set()
    for error in [
        error_of("a ="),
        error_of("x = 1", strict),
        error_of("pk = 'x'", strict),
        error_of("pk LIKE 'x'", strict),
        error_of("a > null"),
        QueryLimitError("max_terms", 1, 2),
        CursorError("no"),
    ]:
        codes.add(type(error).code)
        assert type(error).http_status == 400
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
    assert len(codes) == 7


def test_an_error_is_the_only_one_in_its_traceback():
    for text in ("a = 1 AND", r"a = '\q'", "a = 1e400", "a > null"):
        error = error_of(text)
        assert error.__cause__ is None
        assert error.__context__ is None or error.__suppress_context__
