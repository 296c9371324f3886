"""Something instead of an error."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar, overload

from varco_resilience._checks import ErrorFilter, error_filter, matches
from varco_resilience._errors import ResilienceConfigError, UnsupportedFunctionError
from varco_resilience._functions import PLAIN_KINDS, Kind, answer_type, kind_of
from varco_resilience._strategy import Part, apply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from varco_resilience._circuits import Circuits


class Fallback[F](Part):
    """The decorator that `fallback` returns; it holds no state between calls."""

    __slots__ = ("_handler", "_on", "_value")

    label = "fallback"
    kinds: ClassVar[tuple[Kind, ...]] = PLAIN_KINDS
    remedy = "it has given items away before it fails; put it on the function that gets each item"

    def __init__(self, handler: Callable[..., Any] | None, value: Any, on: ErrorFilter) -> None:
        error_filter("on", on)
        if handler is not None and not callable(handler):
            raise ResilienceConfigError(
                "handler", handler, "a function of the error; or write value=..."
            )
        self._handler = handler
        self._value = value
        self._on = on

    @overload
    def __call__[T, **P, R](
        self, func: classmethod[T, P, Coroutine[Any, Any, R]], /
    ) -> classmethod[T, P, Coroutine[Any, Any, R | F]]: ...
    @overload
    def __call__[T, **P, R](self, func: classmethod[T, P, R], /) -> classmethod[T, P, R | F]: ...
    @overload
    def __call__[**P, R](
        self, func: staticmethod[P, Coroutine[Any, Any, R]], /
    ) -> staticmethod[P, Coroutine[Any, Any, R | F]]: ...
    @overload
    def __call__[**P, R](self, func: staticmethod[P, R], /) -> staticmethod[P, R | F]: ...  # type: ignore[overload-overlap]  # it can be called too
    @overload
    def __call__[**P, R](
        self, func: Callable[P, Awaitable[R]], /
    ) -> Callable[P, Coroutine[Any, Any, R | F]]: ...
    @overload
    def __call__[**P, R](self, func: Callable[P, R], /) -> Callable[P, R | F]: ...
    def __call__(self, func: Any, /) -> Any:
        """Decorate a function, a method, a partial or an object with `__call__`."""
        return apply(self.parts, func)

    def circuits(self, inner: Circuits) -> Circuits:  # noqa: ARG002  # that is the point
        """None: a fallback may answer what a breaker further in refuses."""
        return ()

    def wrap(self, func: Callable[..., Any], kind: Kind, name: str) -> Callable[..., Any]:
        """The function that surrounds calls of another, and is of the same kind."""
        return self._sync(func, name) if kind is Kind.SYNC else self._async(func)

    def _sync(self, func: Callable[..., Any], name: str) -> Callable[..., Any]:
        on, handler, value, label = self._on, self._handler, self._value, self.label
        if handler is not None and kind_of(handler) is Kind.ASYNC:
            raise UnsupportedFunctionError(
                label, name, "its handler is async, so the function must be as well"
            )
        plain: type[Any] | None = None

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            nonlocal plain
            try:
                result = func(*args, **kwargs)
                if type(result) is not plain:
                    plain = answer_type(result, label, name)
            except Exception as error:
                if isinstance(error, UnsupportedFunctionError) or not matches(on, error):
                    raise
                if handler is None:
                    return value
                answer = handler(error)
                remedy = "the function must be async for it"
                answer_type(answer, label, f"the handler of {name}", remedy)
                return answer
            else:
                return result

        return wrapper

    def _async(self, func: Callable[..., Any]) -> Callable[..., Any]:
        on, handler, value = self._on, self._handler, self._value

        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            try:
                return await func(*args, **kwargs)
            except Exception as error:
                if not matches(on, error):
                    raise
                answer = value if handler is None else handler(error)
                # A lambda that calls an async function is none, but answers with a coroutine.
                if handler is not None and inspect.iscoroutine(answer):
                    return await answer
                return answer

        return wrapper


@overload
def fallback[F](
    handler: Callable[[Exception], Coroutine[Any, Any, F]], *, on: ErrorFilter = ...
) -> Fallback[F]: ...
@overload
def fallback[F](handler: Callable[[Exception], F], *, on: ErrorFilter = ...) -> Fallback[F]: ...
@overload
def fallback[F](*, value: F, on: ErrorFilter = ...) -> Fallback[F]: ...
def fallback(
    handler: Callable[[Exception], Any] | None = None,
    *,
    value: Any = None,
    on: ErrorFilter = (Exception,),
) -> Fallback[Any]:
    """Give something else instead of raising.

    Args:
        handler: Called with the error, gives what to return; may be async for async functions.
        value: What to return, when there is no handler.
        on: Which errors, as types or a predicate. An exhausted retry is also judged by its last
            error. Cancellation always passes.
    """
    return Fallback(handler, value, on)
