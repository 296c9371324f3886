"""Another call when the first one takes long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import anyio

from varco_resilience._checks import at_least, of_type
from varco_resilience._functions import Kind
from varco_resilience._strategy import AsyncStrategy, Part
from varco_resilience._timeout import Limit

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class HedgeConfig:
    """When to make another call.

    Args:
        delay: Seconds after which a call that has not returned gets a rival.
        max_hedges: How many rivals at most, each `delay` after the one before.
    """

    delay: float
    max_hedges: int = 1

    def __post_init__(self) -> None:
        at_least("delay", self.delay, 0)
        at_least("max_hedges", self.max_hedges, 1, whole=True)


class _Race:
    """One hedged call: who runs, who has failed, who has won."""

    __slots__ = ("_args", "_config", "_func", "_kwargs", "_stirred", "errors", "result", "won")

    def __init__(
        self, func: Callable[..., Any], config: HedgeConfig, args: Any, kwargs: Any
    ) -> None:
        self._func = func
        self._config = config
        self._args = args
        self._kwargs = kwargs
        self._stirred = anyio.Event()
        self.errors: dict[int, BaseException] = {}
        self.won = False
        self.result: Any = None

    async def run(self) -> None:
        async with anyio.create_task_group() as group:
            for number in range(self._config.max_hedges + 1):
                group.start_soon(self._call, number)
                last = number == self._config.max_hedges
                await self._until_next(None if last else self._config.delay, number + 1)
                if self.won:
                    break
            group.cancel_scope.cancel()

    async def _until_next(self, delay: float | None, running: int) -> None:
        """Wait until the delay is over, a call has succeeded, or all of them have failed."""
        if delay is None:
            await self._until_stirred(running)
        else:
            with Limit(delay):
                await self._until_stirred(running)

    async def _until_stirred(self, running: int) -> None:
        while not self.won and len(self.errors) < running:
            self._stirred = anyio.Event()
            await self._stirred.wait()

    async def _call(self, number: int) -> None:
        try:
            result = await self._func(*self._args, **self._kwargs)
        except BaseException as error:
            self.errors[number] = error
            self._stirred.set()
            if not isinstance(error, Exception):
                raise
        else:
            if not self.won:
                self.won = True
                self.result = result
            self._stirred.set()


async def _race(func: Callable[..., Any], config: HedgeConfig, args: Any, kwargs: Any) -> Any:
    race = _Race(func, config, args, kwargs)
    await race.run()
    if race.won:
        return race.result
    try:
        raise race.errors[0]
    finally:
        del race  # else the error would hold itself through this frame


class Hedge(AsyncStrategy, Part):
    """The decorator that `hedge` returns; it holds no state between calls."""

    __slots__ = ("config",)

    label = "hedge"
    kinds: ClassVar[tuple[Kind, ...]] = (Kind.ASYNC,)
    remedy = "only calls of async functions can be made side by side and be cancelled"

    def __init__(self, config: HedgeConfig) -> None:
        of_type("config", config, HedgeConfig)
        self.config: HedgeConfig = config

    def wrap(self, func: Callable[..., Any], kind: Kind, name: str) -> Callable[..., Any]:  # noqa: ARG002  # always async
        """The function that surrounds calls of another, and is of the same kind."""
        config = self.config

        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            return await _race(func, config, args, kwargs)

        return wrapper


def hedge(config: HedgeConfig) -> Hedge:
    """Call again when a call takes long, or has failed; the first success wins.

    The others are then cancelled and waited for. When all have failed, the error is that of the
    first call made. Only for functions that may run twice, such as reads.
    """
    return Hedge(config)
