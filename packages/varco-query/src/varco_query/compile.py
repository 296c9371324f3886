"""What a compiler of filters is made from: operators, the normal form, patterns and placing.

One of aggregations computes the groups where the rows are, and has `arranged` do the rest.

Derive from `Compiler`, say how each field is stored, and supply the leaves; the engine then selects
what `compile_predicate` does. `docs/how-to/backend.md` writes one.
"""

from varco_query._aggregate import arranged
from varco_query._compiler import Compiler, Leaves
from varco_query._fold import CASE_EXCEPTIONS, fold_case
from varco_query._normal import Junction, Nesting, fold, normalize, shallow
from varco_query._operation import OPERATORS, Fields, Operator, Takes, operator_of
from varco_query._pattern import Pattern, Token, Wildcard
from varco_query._place import (
    BOOLEAN,
    DATE,
    DOCUMENT,
    FLOAT,
    IDENTIFIER,
    MOMENT,
    OPAQUE,
    TEXT,
    TIME,
    Placed,
    Stored,
    decimals,
    durations,
    integers,
)

__all__: tuple[str, ...] = (
    "BOOLEAN",
    "CASE_EXCEPTIONS",
    "DATE",
    "DOCUMENT",
    "FLOAT",
    "IDENTIFIER",
    "MOMENT",
    "OPAQUE",
    "OPERATORS",
    "TEXT",
    "TIME",
    "Compiler",
    "Fields",
    "Junction",
    "Leaves",
    "Nesting",
    "Operator",
    "Pattern",
    "Placed",
    "Stored",
    "Takes",
    "Token",
    "Wildcard",
    "arranged",
    "decimals",
    "durations",
    "fold",
    "fold_case",
    "integers",
    "normalize",
    "operator_of",
    "shallow",
)
