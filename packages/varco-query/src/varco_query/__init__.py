"""A filter language, query AST and in-memory evaluator that are safe to feed from a URL.

The signatures of the AST, `QueryParams`, `QueryBuilder`, `compile_predicate`, `sort_rows`,
`keyset_node` and the visitors are stable: other distributions are built on them.

What you touch is loaded when you touch it: `from varco_query import QueryParser` loads all that
parsing needs.
"""

# Not from typing: importing that costs more than importing this package.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from varco_query._aggregate import (
        AggregationExpression,
        AggregationFunc,
        AggregationQuery,
        aggregate,
        coerce_aggregation,
    )
    from varco_query._builder import QueryBuilder
    from varco_query._cursor import CursorCodec
    from varco_query._errors import (
        CoercionError,
        CursorError,
        CursorKeyError,
        InvalidNodeError,
        OperationNotSupportedError,
        QueryError,
        QueryLimitError,
        QuerySyntaxError,
        UnknownFieldError,
    )
    from varco_query._evaluate import compile_predicate
    from varco_query._fields import F, Field
    from varco_query._json import from_json, to_json
    from varco_query._limits import Limits
    from varco_query._node import (
        AndNode,
        BinaryNode,
        ComparisonNode,
        NotNode,
        OrNode,
        TransformerNode,
        postorder,
        walk,
    )
    from varco_query._operation import NodeType, Operation
    from varco_query._optimize import optimize
    from varco_query._params import QueryParams, SortField, SortOrder
    from varco_query._parser import QueryParser, parse_sort
    from varco_query._pattern import escape_like
    from varco_query._render import render
    from varco_query._schema import QueryField, QuerySchema
    from varco_query._sort import keyset_node, sort_rows
    from varco_query._value import Scalar, Value
    from varco_query._visitor import ASTTransformer, ASTVisitor
else:
    _HOME_OF = {
        name: home
        for home, names in {
            "_aggregate": (
                "AggregationExpression AggregationFunc AggregationQuery aggregate "
                "coerce_aggregation"
            ),
            "_builder": "QueryBuilder",
            "_cursor": "CursorCodec",
            "_errors": (
                "CoercionError CursorError CursorKeyError InvalidNodeError "
                "OperationNotSupportedError QueryError QueryLimitError QuerySyntaxError "
                "UnknownFieldError"
            ),
            "_evaluate": "compile_predicate",
            "_fields": "F Field",
            "_json": "from_json to_json",
            "_limits": "Limits",
            "_node": (
                "AndNode BinaryNode ComparisonNode NotNode OrNode TransformerNode postorder walk"
            ),
            "_operation": "NodeType Operation",
            "_optimize": "optimize",
            "_params": "QueryParams SortField SortOrder",
            "_parser": "QueryParser parse_sort",
            "_pattern": "escape_like",
            "_render": "render",
            "_schema": "QueryField QuerySchema",
            "_sort": "keyset_node sort_rows",
            "_value": "Scalar Value",
            "_visitor": "ASTTransformer ASTVisitor",
        }.items()
        for name in names.split()
    }

    def __getattr__(name: str) -> object:
        home = _HOME_OF.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415  # lazy

        value = getattr(import_module(f"{__name__}.{home}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__: tuple[str, ...] = (
    "ASTTransformer",
    "ASTVisitor",
    "AggregationExpression",
    "AggregationFunc",
    "AggregationQuery",
    "AndNode",
    "BinaryNode",
    "CoercionError",
    "ComparisonNode",
    "CursorCodec",
    "CursorError",
    "CursorKeyError",
    "F",
    "Field",
    "InvalidNodeError",
    "Limits",
    "NodeType",
    "NotNode",
    "Operation",
    "OperationNotSupportedError",
    "OrNode",
    "QueryBuilder",
    "QueryError",
    "QueryField",
    "QueryLimitError",
    "QueryParams",
    "QueryParser",
    "QuerySchema",
    "QuerySyntaxError",
    "Scalar",
    "SortField",
    "SortOrder",
    "TransformerNode",
    "UnknownFieldError",
    "Value",
    "aggregate",
    "coerce_aggregation",
    "compile_predicate",
    "escape_like",
    "from_json",
    "keyset_node",
    "optimize",
    "parse_sort",
    "postorder",
    "render",
    "sort_rows",
    "to_json",
    "walk",
)
