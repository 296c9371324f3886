"""A lock per key that exists while somebody holds it or waits."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


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
