import ast
import subprocess
import sys
from pathlib import Path

import varco_query
from varco_query import _tree

TESTS = Path(__file__).parent


def test_all_is_sorted_complete_and_documented():
    public = {name for name in vars(varco_query) if not name.startswith("_")}
    public -= {"compile", "testing"}
    assert set(varco_query.__all__) == public
    assert sorted(varco_query.__all__) == list(varco_query.__all__)
    for name in varco_query.__all__:
        value = getattr(varco_query, name)
        assert getattr(value, "__doc__", None), name


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_import_is_cheap_and_loads_no_lark():
    code = "import sys, varco_query; print(len(sys.modules), 'lark' in sys.modules)"
    number, lark = run(code).split()
    assert int(number) <= 150
    assert lark == "False"


def test_lark_and_pydantic_are_loaded_by_what_needs_them_only():
    code = (
        "import sys; from varco_query import *; from dataclasses import dataclass\n"
        "@dataclass\nclass A:\n    a: int\n"
        "schema = QuerySchema.of(A)\n"
        "node = QueryBuilder().eq('a', 1).build()\n"
        "compile_predicate(schema.coerce(optimize(node)))(A(1)); render(node); to_json(node)\n"
        "print('lark' in sys.modules, 'pydantic' in sys.modules)\n"
        "QueryParser(schema).parse('a = 1 OR a IN (2)')\n"
        "print('lark' in sys.modules, 'pydantic' in sys.modules)"
    )
    assert run(code).split() == ["False", "False", "True", "False"]


def test_the_parser_is_made_once():
    assert _tree._lark() is _tree._lark()


def test_what_is_imported_from_lark_is_public():
    tree = ast.parse(Path(_tree.__file__).read_text("utf-8"))
    modules = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
        if name and name.startswith("lark")
    }
    assert modules == {"lark", "lark.lexer", "lark.exceptions"}
