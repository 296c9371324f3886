"""What the parts that stand on one link have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from varco_redis._errors import refusals_as_data_errors
from varco_redis._link import Link

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from varco_redis._link import Script
    from varco_redis._settings import RedisSettings


class RedisPart:
    """Something that talks to Redis; `async with`, or `stop()` at the end, closes its connections.

    They are opened when they are needed. Safe for any number of tasks of one event loop.

    Raises:
        RedisUnavailableError: From any operation, when Redis does not answer in time.
        RedisDataError: Likewise, when there is something else under the keys of this part.
    """

    def __init__(self, settings: RedisSettings) -> None:
        self._link = Link(settings)

    async def is_healthy(self) -> bool:
        """Whether Redis answers and takes writes; waits no longer than the time limit."""
        return await self._link.is_healthy()

    async def start(self) -> None:
        """Nothing to begin."""

    async def stop(self) -> None:
        """Close the connections; they are opened again when needed."""
        await self._link.close()

    async def _call(self, command: str, key: Any, *args: Any) -> Any:
        with refusals_as_data_errors(key):
            return await self._link.call(command, key, *args)

    async def _run(self, script: Script, keys: Sequence[Any], *args: Any) -> Any:
        with refusals_as_data_errors(keys[0]):
            return await self._link.run(script, keys, *args)

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
