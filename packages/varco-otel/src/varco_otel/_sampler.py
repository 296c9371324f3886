"""Figures of stores, which have to be awaited, for gauges, which may not wait."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol, Self

from varco_otel._metrics import instruments_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from opentelemetry.metrics import MeterProvider

logger = logging.getLogger("varco_otel")


class HasFigures(Protocol):
    """A `varco_events.FailureStore`: what `failures()` of an outbox, inbox or queue returns."""

    async def figures(self) -> Any:
        """How much is in it, as `varco_events.StoreFigures`."""
        ...


class Sampler:
    """Asks stores for their figures every now and then; gauges export the last answer.

    Depth, failures and the age of the oldest of each. `start()` and `stop()` own a task of asyncio,
    and so does `async with`; elsewhere call `sample()` in a task of your own. A store that does not
    answer in `interval` seconds, or fails, has no values until it answers again.

    Args:
        stores: By the name that they have in the metrics; one for each store, not for each tenant.
        interval: Seconds between two samples.
        meter_provider: That of the process unless given.

    Raises:
        ValueError: `interval` is not above 0.
    """

    def __init__(
        self,
        stores: Mapping[str, HasFigures],
        *,
        interval: float = 15.0,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        if not interval > 0:
            raise ValueError(f"a Sampler needs an interval above 0 seconds, not {interval!r}")
        self._stores: dict[str, HasFigures] = dict(stores)
        self._interval = interval
        self._provider = meter_provider
        self._task: asyncio.Task[None] | None = None
        # What its gauges show, and where: to be taken away again.
        self._shown: dict[str, Any] = {}

    async def sample(self) -> None:
        """Ask every store once; they are asked at the same time by `start`, in turn by this."""
        for name, store in self._stores.items():
            await self._sample_one(name, store)

    async def _sample_one(self, name: str, store: HasFigures) -> None:
        try:
            figures = await store.figures()
        except Exception as error:  # noqa: BLE001  # whatever a store raises
            self._hide(name)
            logger.warning("the figures of %r cannot be had: %s", name, type(error).__name__)
        else:
            self._shown[name] = figures
            instruments_of(self._provider).stores[name] = figures

    async def _sample_in_time(self, name: str, store: HasFigures) -> None:
        try:
            async with asyncio.timeout(self._interval):
                await self._sample_one(name, store)
        except TimeoutError:
            self._hide(name)
            logger.warning("%r had no figures within %g seconds", name, self._interval)

    def _hide(self, name: str) -> None:
        stores = instruments_of(self._provider).stores
        if stores.get(name) is self._shown.pop(name, None):
            stores.pop(name, None)

    async def _run(self) -> None:
        while True:
            async with asyncio.TaskGroup() as group:
                for name, store in self._stores.items():
                    group.create_task(self._sample_in_time(name, store))
            await asyncio.sleep(self._interval)

    async def start(self) -> None:
        """Begin; the first values are there soon, not at once. Once, if it is running."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="varco-otel sampler")

    async def stop(self) -> None:
        """End, and take the values away; nothing if it is not running."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        for name in tuple(self._shown):
            self._hide(name)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()
