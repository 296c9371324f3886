"""Check constraints as conditions of the query language, with values of their fields' types."""

from decimal import Decimal
from typing import Any

from varco_domain._errors import ModelDefinitionError
from varco_domain._fields import FieldKind
from varco_domain._hints import CheckConstraint
from varco_domain._parsed import ParsedMeta
from varco_query import (
    ASTTransformer,
    CoercionError,
    ComparisonNode,
    InvalidNodeError,
    OperationNotSupportedError,
    QueryError,
    QuerySchema,
    TransformerNode,
)

_NUMBERS = frozenset({FieldKind.INT, FieldKind.FLOAT, FieldKind.DECIMAL})
_OPAQUE = frozenset({FieldKind.JSON, FieldKind.BYTES})


def check_condition(meta: ParsedMeta, check: CheckConstraint) -> TransformerNode | None:
    """What a check constraint asks of a row; None if it is not in the query language.

    Raises:
        ModelDefinitionError: It names no field of the model, or compares one with what it never is,
            so that it would hold for every row or for none; or a number is none of any field.
    """
    from varco_query import QueryParser  # noqa: PLC0415 - the parser is loaded when there is a check

    try:
        node = QueryParser().parse(check.condition).node
    except InvalidNodeError as error:
        message = f"the check {check.condition!r} cannot decide: {error}"
        raise ModelDefinitionError(meta.entity_cls.__name__, None, message) from None
    except QueryError:
        return None
    return None if node is None else _Fitting(meta, check).visit(node)


class _Fitting(ASTTransformer):
    """Gives the values of a condition the types of the fields."""

    def __init__(self, meta: ParsedMeta, check: CheckConstraint) -> None:
        self._meta = meta
        self._check = check
        comparable = {n: f.annotation for n, f in meta.fields.items() if f.kind not in _OPAQUE}
        self._schema = QuerySchema(comparable)

    def visit_comparison(self, node: ComparisonNode) -> TransformerNode:
        field = self._meta.fields.get(node.field)
        if field is None:
            known = ", ".join(self._meta.fields)
            raise self._wrong(node, f"there is no such field; fields: {known}")
        # An int is asked whether it is above 0.5 as well.
        if field.kind in _OPAQUE or (field.kind in _NUMBERS and _is_number(node.value)):
            return node
        try:
            return self._schema.coerce(node)
        except OperationNotSupportedError:
            return node  # what services do not let callers ask may still be checked
        except CoercionError as error:
            raise self._wrong(node, str(error)) from None

    def _wrong(self, node: ComparisonNode, reason: str) -> ModelDefinitionError:
        message = f"the check {self._check.condition!r} cannot decide: {reason}"
        return ModelDefinitionError(self._meta.entity_cls.__name__, node.field, message)


def _is_number(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_number, value))  # pyright: ignore[reportUnknownArgumentType] # whatever it holds
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
