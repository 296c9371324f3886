"""A lock per key that exists while somebody holds it or waits."""

from __future__ import annotations

from collections import deque
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable


class KeyLocks:
    """Whoever asks for a key first holds it first.

    State is protected by never awaiting between looking at a queue and changing it. Not a lock of
    anyio's: in those before 4.16 somebody who is cancelled while waiting can leave a free lock
    that nobody gets.
    """

    def __init__(self) -> None:
        # Who waits for each key, the first being who holds it. An event tells that it is one's
        # turn.
        self._queues: dict[Any, deque[anyio.Event]] = {}

    @asynccontextmanager
    async def hold(self, key: Any) -> AsyncGenerator[None]:
        """Alone on this key."""
        queue = self._queues.setdefault(key, deque())
        turn = anyio.Event()
        queue.append(turn)
        try:
            if queue[0] is not turn:
                await turn.wait()
            yield
        finally:
            # Also one who is cancelled just as the turn comes hands it on.
            was_first = queue[0] is turn
            queue.remove(turn)
            if not queue:
                del self._queues[key]
            elif was_first:
                queue[0].set()

    async def settle(self) -> None:
        """Wait until all who hold or wait for a key by now are done."""
        for key in list(self._queues):
            if key in self._queues:
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
