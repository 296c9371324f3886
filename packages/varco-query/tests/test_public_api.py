import ast
import subprocess
import sys
from pathlib import Path

import pytest

import varco_query


def test_all_is_sorted_complete_and_documented():
    tree = ast.parse(Path(varco_query.__file__).read_text("utf-8"))
    seen_by_checkers = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("varco_query")
        for alias in node.names
    }
    assert set(varco_query.__all__) == seen_by_checkers
    assert sorted(varco_query.__all__) == list(varco_query.__all__)
    assert set(varco_query.__all__) <= set(dir(varco_query))
    for name in varco_query.__all__:
        value = getattr(varco_query, name)
        assert getattr(value, "__doc__", None), name
        assert vars(varco_query)[name] is value


def test_an_unknown_name_is_no_attribute():
    with pytest.raises(AttributeError, match="no attribute 'QueryPraser'"):
        _ = varco_query.QueryPraser


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_what_is_not_touched_is_not_loaded():
    code = "import sys; before = set(sys.modules); {}; print(*set(sys.modules) - before)"
    assert run(code.format("import varco_query")) == "varco_query"
    modules = set(run(code.format("from varco_query import QueryParser")).split())
    assert "varco_query._parse" in modules
    assert not modules & {"json", "hashlib", "hmac", "varco_query._cursor", "varco_query._evaluate"}
    assert len(modules) <= 80


def test_nothing_needs_lark_and_only_its_models_pydantic():
    code = (
        "import sys; from varco_query import *; from dataclasses import dataclass\n"
        "@dataclass\nclass A:\n    a: int\n"
        "schema = QuerySchema.of(A)\n"
        "node = QueryBuilder().eq('a', 1).build()\n"
        "compile_predicate(schema.coerce(optimize(node)))(A(1)); render(node); to_json(node)\n"
        "QueryParser(schema).parse('a = 1 OR a IN (2)')\n"
        "try: QueryParser(schema).parse('a = ')\n"
        "except QueryError as error: print(str(error) != '')\n"
        "print('lark' in sys.modules, 'pydantic' in sys.modules)"
    )
    assert run(code).split() == ["True", "False", "False"]
