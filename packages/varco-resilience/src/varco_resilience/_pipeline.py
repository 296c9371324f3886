"""Several strategies as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from varco_resilience._errors import ResilienceConfigError
from varco_resilience._strategy import AnyStrategy, Strategy

if TYPE_CHECKING:
    from varco_resilience._strategy import Part


class Pipeline(AnyStrategy):
    """Several strategies as one decorator, the first one outermost.

    `Pipeline(a, b, c)(func)` means `a(b(c(func)))`, in fewer frames. Use it for many functions:
    what they share is what the strategies share.
    """

    __slots__ = ("_parts",)

    def __init__(self, *strategies: Strategy) -> None:
        if not strategies:
            raise ResilienceConfigError("strategies", strategies, "at least one strategy")
        for strategy in strategies:
            if not isinstance(strategy, Strategy):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without a type checker
                raise ResilienceConfigError(
                    "strategies",
                    strategy,
                    "what retry(...), timeout(...), circuit_breaker(...) and the like return",
                )
        self._parts = tuple(part for strategy in strategies for part in strategy.parts)

    @property
    def parts(self) -> tuple[Part, ...]:
        """What it is made of, outermost first; a pipeline in a pipeline is taken apart."""
        return self._parts
