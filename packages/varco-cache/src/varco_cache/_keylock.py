"""A lock per key that exists while somebody holds it or waits."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable


class KeyLocks:
    """State is protected by never awaiting between counting a user and using its lock."""

    def __init__(self) -> None:
        self._locks: dict[Any, tuple[anyio.Lock, list[None]]] = {}

    @asynccontextmanager
    async def hold(self, key: Any) -> AsyncGenerator[None]:
        """Alone on this key."""
        lock, users = self._locks.setdefault(key, (anyio.Lock(fast_acquire=True), []))
        users.append(None)
        try:
            async with lock:
                yield
        finally:
            users.pop()
            if not users:
                del self._locks[key]

    async def settle(self) -> None:
        """Wait until all who hold or wait for a key by now are done."""
        for key in list(self._locks):
            if key in self._locks:
                async with self.hold(key):
                    pass

    @asynccontextmanager
    async def hold_all(self, keys: Iterable[Any]) -> AsyncGenerator[None]:
        """Alone on these keys."""
        async with AsyncExitStack() as stack:
            # In one order for everybody, or two could wait for each other.
            for key in sorted(set(keys), key=repr):
                await stack.enter_async_context(self.hold(key))
            yield
