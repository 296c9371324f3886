"""The meaning of a filter, as every backend has to give it."""

import pytest
from hypothesis import given

from varco_query import QueryParser, compile_predicate, optimize
from varco_query.testing import CASES, ROWS, SCHEMA, sample_nodes, samples

parser = QueryParser(SCHEMA)


def selected(node, rows=ROWS):
    selects = compile_predicate(node)
    return {row.pk for row in rows if selects(row)}


@pytest.mark.parametrize(("text", "pks"), CASES)
def test_case(text, pks):
    assert selected(parser.parse_node(text)) == pks


@pytest.mark.parametrize(("text", "pks"), CASES)
def test_case_negated(text, pks):
    node = parser.parse_node(text)
    unknown = {row.pk for row in ROWS} - pks - selected(parser.parse_node(f"NOT ({text})"))
    assert not pks & selected(~node)
    assert selected(node | ~node) | unknown == {row.pk for row in ROWS}


@pytest.mark.parametrize(("text", "pks"), CASES)
def test_case_of_mappings(text, pks):
    selects = compile_predicate(parser.parse_node(text))
    rows = [{name: getattr(row, name) for name in SCHEMA.fields} for row in ROWS]
    assert {row["pk"] for row in rows if selects(row)} == pks


@given(sample_nodes(), samples())
def test_the_optimizer_keeps_true_false_and_unknown(node, rows):
    assert selected(optimize(node), rows) == selected(node, rows)
    assert selected(~optimize(node), rows) == selected(~node, rows)


@given(sample_nodes())
def test_optimizing_twice_changes_nothing(node):
    once = optimize(node)
    assert optimize(once) == once
