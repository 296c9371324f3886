"""Check constraints: conditions of the query language as SQL."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from varco_domain.backend import ParsedMeta, check_condition
from varco_domain.meta import CheckConstraint
from varco_query import walk
from varco_sa._dialect import Dialect
from varco_sa._filters import Filters


def check_expression(
    check: CheckConstraint,
    meta: ParsedMeta,
    columns: Mapping[str, sa.Column[Any]],
    dialect: Dialect,
) -> tuple[sa.ColumnElement[bool] | sa.TextClause, tuple[str, ...]]:
    """The SQL of a check constraint, and the fields it is about.

    What is not in the query language is taken for SQL of the engine, as the author wrote it.

    Raises:
        ModelDefinitionError: It names no field, or compares one with what it never is.
    """
    node = check_condition(meta, check)
    if node is None:
        return sa.text(check.condition), ()
    filters = Filters(meta, columns, dialect)
    shape, values = filters.shape(node)
    expression = filters.expression(shape, literals=values)
    return expression, tuple(dict.fromkeys(each.field for each in walk(node)))
