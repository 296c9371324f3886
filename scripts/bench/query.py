"""varco-query: parsing, building and evaluating filters."""

from __future__ import annotations

import compileall
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from _harness import Case, Figure, Published, main

GROUPS = range(5)
FLAT = {number: [f"f{i}" for i in range(number)] for number in (2, 10, 200)}


def _varco(number: int) -> str:
    return " AND ".join(f"{name} = {i}" for i, name in enumerate(FLAT[number]))


NESTED = " AND ".join(f"(f{i} = {i} OR g{i} > {i})" for i in GROUPS)
DEEP = (
    "((((((((((a = 1) AND b = 1) OR c = 1) AND d = 1) OR e = 1) AND f = 1) OR g = 1) AND h = 1)"
    " OR i = 1) AND j = 1)"
)
TEXTS = {
    "2 terms": _varco(2),
    "10 terms": _varco(10),
    "200 terms": _varco(200),
    "10 nested terms": NESTED,
    "10 terms, 10 levels": DEEP,
}
FIQL = {
    **{f"{n} terms": ";".join(f"{x}=={i}" for i, x in enumerate(FLAT[n])) for n in FLAT},
    "10 nested terms": ";".join(f"(f{i}=={i},g{i}=gt={i})" for i in GROUPS),
    "10 terms, 10 levels": "((((((((((a==1);b==1),c==1);d==1),e==1);f==1),g==1);h==1),i==1);j==1)",
}
ODATA = {
    name: text.replace(" = ", " eq ")
    .replace(" > ", " gt ")
    .replace("AND", "and")
    .replace("OR", "or")
    for name, text in TEXTS.items()
}
LUQUM = {name: text.replace(" = ", ":").replace(" > ", ":>") for name, text in TEXTS.items()}


def _ours(text: str) -> Callable[[], Callable[[], object]]:
    def make() -> Callable[[], object]:
        from varco_query import QueryParser

        # Not parse_node: that remembers.
        parse = QueryParser()._parse_text
        return lambda: parse(text)

    return make


def _fiql(text: str) -> Callable[[], Callable[[], object]]:
    def make() -> Callable[[], object]:
        from fiql_parser import parse_str_to_expression

        return lambda: parse_str_to_expression(text)

    return make


def _pyrsql(text: str) -> Callable[[], Callable[[], object]]:
    def make() -> Callable[[], object]:
        import pyrsql

        return lambda: pyrsql.parse(text)

    return make


def _odata(text: str) -> Callable[[], Callable[[], object]]:
    def make() -> Callable[[], object]:
        from odata_query.grammar import ODataLexer, ODataParser

        lexer, parser = ODataLexer(), ODataParser()
        return lambda: parser.parse(lexer.tokenize(text))

    return make


def _luqum(text: str) -> Callable[[], Callable[[], object]]:
    def make() -> Callable[[], object]:
        from luqum.parser import parser

        return lambda: parser.parse(text)

    return make


def _published(text: str) -> str:
    return (
        "from varco_core.query.parser import QueryParser\n"
        "def make():\n"
        "    parser = QueryParser()\n"
        f"    text = {text!r}\n"
        "    return lambda: parser.parse(text)\n"
    )


def _by_hand() -> Callable[[], object]:
    """The floor: one regular expression, tuples, no checks, AND only."""
    import re

    term = re.compile(r"\s*(?:AND\s+)?(\w+)\s*(=|>)\s*(\d+)")
    text = TEXTS["200 terms"]
    return lambda: [(field, op, int(value)) for field, op, value in term.findall(text)]


def _builder(number: int) -> Callable[[], Callable[[], object]]:
    def make() -> Callable[[], object]:
        from varco_query import QueryBuilder

        def build() -> object:
            builder = QueryBuilder()
            for value in range(number):
                builder = builder.eq("field", value)
            return builder.build()

        return build

    return make


def _published_builder(number: int) -> str:
    return f"""
from varco_core import QueryBuilder
def make():
    def build():
        builder = QueryBuilder()
        for value in range({number}):
            builder = builder.eq("field", value)
        return builder.build()
    return build
"""


def _building(number: int) -> list[Case | Published]:
    group = f"build {number} terms"
    return [
        Case(group, "varco-query", _builder(number), ours=True),
        Published(group, _published_builder(number)),
    ]


def _repeated() -> Callable[[], object]:
    from varco_query import QueryParser

    parser = QueryParser()
    return lambda: parser.parse(TEXTS["10 nested terms"], limit=20, offset=0)


def _long(joint: str, number: int) -> Callable[[], float]:
    def measure() -> float:
        from varco_query import Limits, QueryParser

        parser = QueryParser(limits=Limits(max_length=10**7, max_terms=10**6))
        text = joint.join(f"f{i} = {i}" for i in range(number))
        return min(_milliseconds(lambda: parser.parse_node(text)) for _ in range(5))

    return measure


def _milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


def _listed() -> Callable[[], object]:
    from varco_query import QueryParser

    parse = QueryParser()._parse_text
    text = f"pk IN ({', '.join(map(str, range(1000)))})"
    return lambda: parse(text)


ROWS = [{"f": i % 7, "g": None if i % 3 else i, "title": f"row {i}"} for i in range(1000)]


def _evaluated() -> Callable[[], object]:
    from varco_query import QueryParser, compile_predicate

    selects = compile_predicate(QueryParser().parse_node("f > 2 AND (g < 500 OR title LIKE '%9')"))
    return lambda: sum(map(selects, ROWS))


def _evaluated_by_hand() -> Callable[[], object]:
    import re

    like = re.compile(".*9", re.DOTALL).fullmatch

    def selects(row: dict[str, object]) -> bool:
        f, g, title = row["f"], row["g"], row["title"]
        return f > 2 and ((g is not None and g < 500) or like(title) is not None)  # type: ignore[operator, arg-type]  # what a hand writes

    return lambda: sum(map(selects, ROWS))


def _fresh(setup: str, timed: str) -> Callable[[], float]:
    """Milliseconds of CPU in new processes, the median of many, with compiled files present."""

    def measure() -> float:
        import varco_query

        compileall.compile_dir(str(Path(varco_query.__file__).parent), quiet=1)
        code = f"import time\n{setup}\nstart = time.thread_time()\n{timed}\n"
        code += "print((time.thread_time() - start) * 1e3)"
        command = [sys.executable, "-c", code]
        return statistics.median(
            float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            for _ in range(21)
        )

    return measure


STANDARD = "collections.abc, dataclasses, datetime, decimal, enum, functools, re, typing, uuid"
PARSER = "from varco_query import QueryParser"
FIRST = "QueryParser().parse(\"a = 1 AND (b IN (1, 2) OR NOT c LIKE 'x%')\")"


def _parsing(name: str) -> list[Case | Published]:
    group = f"parse {name}"
    return [
        Case(group, "varco-query", _ours(TEXTS[name]), ours=True),
        Case(group, "fiql-parser", _fiql(FIQL[name])),
        Case(group, "pyrsql", _pyrsql(FIQL[name])),
        Case(group, "odata-query", _odata(ODATA[name])),
        Case(group, "luqum", _luqum(LUQUM[name])),
        Published(group, _published(TEXTS[name])),
    ]


CASES: list[Case | Published | Figure] = [
    *(case for name in TEXTS for case in _parsing(name)),
    Case("the floor of 200 terms", "varco-query", _ours(TEXTS["200 terms"]), ours=True),
    Case("the floor of 200 terms", "one regular expression", _by_hand),
    Case("a repeated filter", "varco-query", _repeated, ours=True),
    Case("a list of 1000 values", "varco-query", _listed, ours=True),
    *(case for number in (10, 100) for case in _building(number)),
    Case("test 1000 rows", "varco-query", _evaluated, ours=True),
    Case("test 1000 rows", "written by hand", _evaluated_by_hand),
    Figure("10,000 terms", "AND", "ms", _long(" AND ", 10_000), ours=True),
    Figure("10,000 terms", "OR", "ms", _long(" OR ", 10_000)),
    Figure("100,000 terms", "AND", "ms", _long(" AND ", 100_000), ours=True),
    Figure(
        "a new process", "import varco_query", "ms", _fresh("", "import varco_query"), ours=True
    ),
    Figure("a new process", "import its QueryParser", "ms", _fresh("", PARSER)),
    Figure("a new process", "the standard modules of that", "ms", _fresh("", f"import {STANDARD}")),
    Figure("a new process", "the first filter", "ms", _fresh(PARSER, FIRST)),
]


if __name__ == "__main__":
    main(CASES)
