"""What value goes with what operation."""

from collections.abc import Callable, Iterable
from typing import Final, cast

from varco_query._errors import InvalidNodeError, OperationNotSupportedError, shorten
from varco_query._operation import NULL_TESTS, Operation
from varco_query._value import Scalar, Value, check_scalar

type _Checked = tuple[Operation, Value]


def check_operation(op: object, value: object) -> _Checked:
    """The operation and value in their plain form.

    Raises:
        OperationNotSupportedError: There is no such operation.
        InvalidNodeError: The value does not go with it.
    """
    operation = to_operation(op)
    return _CHECKS[operation](operation, value)


def to_operation(op: object) -> Operation:
    """The operation itself, of its text."""
    try:
        return Operation(cast("str", op))
    except ValueError:
        raise OperationNotSupportedError(op, None, Operation) from None


def _check_equal(op: Operation, value: object) -> _Checked:
    if value is None:
        return NULL_TESTS[op], None
    return op, check_scalar(value)


def _check_ordered(op: Operation, value: object) -> _Checked:
    if value is None:
        raise InvalidNodeError(f"nothing is {op} null; ask IS_NULL or IS_NOT_NULL")
    return op, check_scalar(value)


def _check_text(op: Operation, value: object) -> _Checked:
    checked = None if value is None else check_scalar(value)
    if not isinstance(checked, str):
        raise InvalidNodeError(f"{op} needs text, not {type(value).__name__} {shorten(value)}")
    return op, checked


def _check_pattern(op: Operation, value: object) -> _Checked:
    op, pattern = _check_text(op, value)
    text = cast("str", pattern)
    if text.endswith("\\") and (len(text) - len(text.rstrip("\\"))) % 2:
        raise InvalidNodeError(f"pattern {shorten(text)} ends in an escape that escapes nothing")
    return op, pattern


def _check_list(op: Operation, value: object) -> _Checked:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise InvalidNodeError(f"{op} needs a list, not {type(value).__name__} {shorten(value)}")
    return op, _scalars(op, cast("Iterable[object]", value))


def _check_pair(op: Operation, value: object) -> _Checked:
    op, checked = _check_list(op, value)
    if len(cast("tuple[Scalar, ...]", checked)) != 2:  # noqa: PLR2004  # a pair
        raise InvalidNodeError(f"{op} needs a low and a high value, not {shorten(value)}")
    return op, checked


def _scalars(op: Operation, values: Iterable[object]) -> tuple[Scalar, ...]:
    checked: list[Scalar] = []
    for value in values:
        if value is None:
            # SQL's `x NOT IN (1, NULL)` selects nothing, which nobody means.
            raise InvalidNodeError(f"{op} cannot hold null; ask IS_NULL or IS_NOT_NULL beside it")
        checked.append(check_scalar(value))
    return tuple(checked)


def _check_nothing(op: Operation, value: object) -> _Checked:
    if value is not None:
        raise InvalidNodeError(f"{op} takes no value, not {shorten(value)}")
    return op, None


_CHECKS: Final[dict[Operation, Callable[[Operation, object], _Checked]]] = {
    Operation.EQUAL: _check_equal,
    Operation.NOT_EQUAL: _check_equal,
    Operation.GREATER_THAN: _check_ordered,
    Operation.LESS_THAN: _check_ordered,
    Operation.GREATER_EQUAL: _check_ordered,
    Operation.LESS_EQUAL: _check_ordered,
    Operation.LIKE: _check_pattern,
    Operation.ILIKE: _check_pattern,
    Operation.CONTAINS: _check_text,
    Operation.STARTSWITH: _check_text,
    Operation.ENDSWITH: _check_text,
    Operation.IN: _check_list,
    Operation.NOT_IN: _check_list,
    Operation.BETWEEN: _check_pair,
    Operation.IS_NULL: _check_nothing,
    Operation.IS_NOT_NULL: _check_nothing,
}
