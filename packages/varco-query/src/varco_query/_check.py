"""What value goes with what operation."""

from collections.abc import Callable, Iterable
from typing import Final, cast

from varco_query._errors import InvalidNodeError, OperationNotSupportedError, shorten
from varco_query._operation import Operation, Takes, operator_of
from varco_query._value import Scalar, Value, check_scalar


def check_operation(op: object, value: object) -> tuple[Operation, Value]:
    """The operation and value in their plain form.

    Raises:
        OperationNotSupportedError: There is no such operation.
        InvalidNodeError: The value does not go with it.
    """
    operation = to_operation(op)
    operator = operator_of(operation)
    if value is None and operator.of_null is not None:
        return operator.of_null, None
    return operation, _CHECKS[operator.takes](operation, value)


def to_operation(op: object) -> Operation:
    """The operation itself, of its text."""
    try:
        return Operation(cast("str", op))
    except ValueError:
        raise OperationNotSupportedError(op, None, Operation) from None


def _check_value(op: Operation, value: object) -> Value:
    if value is None:
        raise InvalidNodeError(f"nothing is {op} null; ask IS_NULL or IS_NOT_NULL")
    return check_scalar(value)


def _check_text(op: Operation, value: object) -> str:
    checked = None if value is None else check_scalar(value)
    if not isinstance(checked, str):
        raise InvalidNodeError(f"{op} needs text, not {type(value).__name__} {shorten(value)}")
    return checked


def _check_pattern(op: Operation, value: object) -> str:
    text = _check_text(op, value)
    if text.endswith("\\") and (len(text) - len(text.rstrip("\\"))) % 2:
        raise InvalidNodeError(f"pattern {shorten(text)} ends in an escape that escapes nothing")
    return text


def _check_list(op: Operation, value: object) -> tuple[Scalar, ...]:
    return tuple([check_scalar(each) for each in items(op, value)])


def _check_pair(op: Operation, value: object) -> tuple[Scalar, ...]:
    checked = _check_list(op, value)
    if len(checked) != 2:  # noqa: PLR2004  # a pair
        raise InvalidNodeError(f"{op} needs a low and a high value, not {shorten(value)}")
    return checked


def _check_nothing(op: Operation, value: object) -> None:
    if value is not None:
        raise InvalidNodeError(f"{op} takes no value, not {shorten(value)}")


def items(op: Operation, value: object) -> list[object]:
    """The values of a list, none of which is null; nothing else of them is checked.

    Raises:
        InvalidNodeError: It is no list, or holds null.
    """
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise InvalidNodeError(f"{op} needs a list, not {type(value).__name__} {shorten(value)}")
    found = list(cast("Iterable[object]", value))
    if any(each is None for each in found):
        # SQL's `x NOT IN (1, NULL)` selects nothing, which nobody means.
        raise InvalidNodeError(f"{op} cannot hold null; ask IS_NULL or IS_NOT_NULL beside it")
    return found


_CHECKS: Final[dict[Takes, Callable[[Operation, object], Value]]] = {
    Takes.VALUE: _check_value,
    Takes.TEXT: _check_text,
    Takes.PATTERN: _check_pattern,
    Takes.LIST: _check_list,
    Takes.PAIR: _check_pair,
    Takes.NOTHING: _check_nothing,
}
