"""What all strategies have in common: each is a decorator, and a part of a pipeline."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, overload

from varco_resilience._circuits import circuits_of, note_circuits
from varco_resilience._functions import KINDS, Kind, decorate, only

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from varco_resilience._circuits import Circuits


class Strategy(ABC):
    """A way to make calls resilient: a decorator, and a part of a `Pipeline`."""

    __slots__ = ("__weakref__",)

    @property
    @abstractmethod
    def parts(self) -> tuple[Part, ...]:
        """What it is made of, outermost first."""


class Part(Strategy):
    """A strategy that is not made of others."""

    __slots__ = ()

    label: ClassVar[str]
    kinds: ClassVar[tuple[Kind, ...]] = KINDS
    remedy: ClassVar[str] = ""

    @property
    def parts(self) -> tuple[Part, ...]:
        """Itself."""
        return (self,)

    def bind(self, name: str) -> Part:  # noqa: ARG002  # for those with a state per function
        """The strategy that serves the function of this name."""
        return self

    def circuits(self, inner: Circuits) -> Circuits:
        """The breakers that a call through this strategy passes; `inner` are those further in."""
        return inner

    @abstractmethod
    def wrap(self, func: Callable[..., Any], kind: Kind, name: str) -> Callable[..., Any]:
        """The function that surrounds calls of another, and is of the same kind."""


class AnyStrategy(Strategy):
    """A strategy for sync and async functions; the signature stays what it was."""

    __slots__ = ()

    @overload
    def __call__[T, **P, R](self, func: classmethod[T, P, R], /) -> classmethod[T, P, R]: ...
    @overload
    def __call__[**P, R](self, func: staticmethod[P, R], /) -> staticmethod[P, R]: ...
    @overload
    def __call__[**P, R](self, func: Callable[P, R], /) -> Callable[P, R]: ...
    def __call__(self, func: Any, /) -> Any:
        """Decorate a function, a method, a partial or an object with `__call__`."""
        return apply(self.parts, func)


class SharedStrategy(AnyStrategy, Part):
    """A strategy with a state, which the functions that it decorates share."""

    __slots__ = ()

    @overload
    def protect[T, **P, R](self, func: classmethod[T, P, R], /) -> classmethod[T, P, R]: ...
    @overload
    def protect[**P, R](self, func: staticmethod[P, R], /) -> staticmethod[P, R]: ...
    @overload
    def protect[**P, R](self, func: Callable[P, R], /) -> Callable[P, R]: ...
    def protect(self, func: Any, /) -> Any:
        """Decorate a function, a method, a partial or an object with `__call__`."""
        return apply(self.parts, func)


class AsyncStrategy(Strategy):
    """A strategy for async functions only; the signature stays what it was."""

    __slots__ = ()

    @overload
    def __call__[T, **P, R: Awaitable[Any]](
        self, func: classmethod[T, P, R], /
    ) -> classmethod[T, P, R]: ...
    @overload
    def __call__[**P, R: Awaitable[Any]](
        self, func: staticmethod[P, R], /
    ) -> staticmethod[P, R]: ...
    @overload
    def __call__[**P, R: Awaitable[Any]](self, func: Callable[P, R], /) -> Callable[P, R]: ...
    def __call__(self, func: Any, /) -> Any:
        """Decorate an async function, method, partial or object with an async `__call__`."""
        return apply(self.parts, func)


def apply(parts: Sequence[Part], func: Any) -> Any:
    """Put the strategies around a callable, the first one outermost."""

    def wrap(func: Callable[..., Any], kind: Kind, name: str) -> Callable[..., Any]:
        for part in parts:
            only(part.label, kind, name, part.kinds, part.remedy)
        return build([part.bind(name) for part in parts], func, kind, name)

    return decorate(_label(parts), func, wrap)


def build(
    parts: Sequence[Part], func: Callable[..., Any], kind: Kind, name: str
) -> Callable[..., Any]:
    """The function inside of bound strategies, the first one outermost."""
    for part in reversed(parts):
        wrapper = part.wrap(func, kind, name)
        note_circuits(wrapper, part.circuits(circuits_of(func)))
        func = wrapper
    return func


def _label(parts: Sequence[Part]) -> str:
    return "+".join(part.label for part in parts)
