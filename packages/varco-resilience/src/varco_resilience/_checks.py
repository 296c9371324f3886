"""Checks of configuration values, and which errors a policy is about."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable  # tools resolve the alias at run time
from typing import TYPE_CHECKING, TypeGuard, cast

from varco_resilience._errors import ResilienceConfigError, RetryExhaustedError
from varco_resilience._functions import Kind, kind_of

if TYPE_CHECKING:
    type _Types = type[Exception] | tuple[type[Exception], ...]

type ErrorFilter = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]
"""Which errors are meant: a type, several types, or a predicate."""


def at_least(field: str, value: object, low: float, *, whole: bool = False) -> None:
    """Refuse anything but a finite number of at least `low`."""
    if not _is_number(value, whole=whole) or not low <= value < math.inf:
        kind = "an integer" if whole else "a finite number"
        raise ResilienceConfigError(field, value, f"{kind} >= {low:g}")


def above_zero(field: str, value: object) -> None:
    """Refuse anything but a finite number above zero."""
    if not _is_number(value) or not 0 < value < math.inf:
        raise ResilienceConfigError(field, value, "a finite number > 0")


def error_filter(field: str, value: object) -> None:
    """Refuse what is no `ErrorFilter`; a cancellation is no error that may be filtered for."""
    if not _are_types(value) and (isinstance(value, type) or not _is_sync(value)):
        raise ResilienceConfigError(
            field, value, "subclasses of Exception (cancellation is none), or a sync predicate"
        )


def sync_function(field: str, value: object) -> None:
    """Refuse what cannot be called, and async functions, whose answer nobody would await."""
    if not _is_sync(value):
        raise ResilienceConfigError(field, value, "a sync function")


def of_type(field: str, value: object, wanted: type) -> None:
    """Refuse a value of another type, such as the function of a decorator without parentheses."""
    if not isinstance(value, wanted):
        article = "an" if wanted.__name__[0] in "AEIOU" else "a"
        raise ResilienceConfigError(field, value, f"{article} {wanted.__name__}")


def matches(wanted: ErrorFilter, error: Exception) -> bool:
    """Whether `error` is one of the wanted.

    So is an exhausted retry whose last error is, and a group with a member that is; a predicate is
    asked of the members, not of the group.
    """
    if isinstance(error, RetryExhaustedError):
        last = error.last_exc
        if isinstance(last, Exception) and matches(wanted, last):
            return True
    members = members_of(error)
    if members and any(matches(wanted, member) for member in members):
        return True
    if isinstance(wanted, (type, tuple)):
        return isinstance(error, wanted)
    return not members and bool(wanted(error))


def members_of(error: Exception) -> tuple[Exception, ...]:
    """The members of a group of errors, of which some may be groups; none of another error."""
    if isinstance(error, ExceptionGroup):
        return cast("ExceptionGroup[Exception]", error).exceptions
    return ()


def rooted(
    error: BaseException,
    kinds: tuple[type[BaseException], ...],
    combine: Callable[[Iterable[bool]], bool],
) -> bool:
    """Whether any or all (`combine`) of what has gone wrong at last is of these kinds.

    That is behind exhausted retries and inside of groups.
    """
    if isinstance(error, RetryExhaustedError):
        return rooted(error.last_exc, kinds, combine)
    if isinstance(error, BaseExceptionGroup):
        members = cast("BaseExceptionGroup[BaseException]", error).exceptions
        return combine(rooted(member, kinds, combine) for member in members)
    return isinstance(error, kinds)


def _is_number(value: object, *, whole: bool = False) -> TypeGuard[float]:
    if not isinstance(value, int if whole else (int, float)) or isinstance(value, bool):
        return False
    try:
        float(value)
    except OverflowError:  # whoever reckons with it would meet that
        return False
    return True


def _are_types(value: object) -> TypeGuard[_Types]:
    items = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)
    return all(isinstance(item, type) and issubclass(item, Exception) for item in items)


def _is_sync(value: object) -> bool:
    return callable(value) and kind_of(value) is Kind.SYNC
