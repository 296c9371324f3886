"""Acknowledging events, many in one round trip."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from redis.exceptions import NoPermissionError

from varco_events import back_off, describe

if TYPE_CHECKING:
    from varco_redis._link import Link

logger = logging.getLogger("varco_redis.bus")

_LATER = 1.0


class Acks:
    """What a group has handled and Redis is not yet told of.

    State is protected by never awaiting between looking and changing.
    """

    def __init__(self, link: Link, group: str) -> None:
        self._link = link
        self._group = group
        self._due: dict[str, list[str]] = {}
        self._free: dict[str, list[str]] = {}
        self._any = asyncio.Event()
        self._flushing = asyncio.Lock()

    def add(self, stream: str, number: str) -> None:
        """Acknowledge it soon."""
        self._due.setdefault(stream, []).append(number)
        self._any.set()

    def let_go(self, owners: str, hold: str) -> None:
        """Have others go on with its key, after what was acknowledged before."""
        self._free.setdefault(owners, []).append(hold)
        self._any.set()

    async def run(self) -> None:
        """Acknowledge until it is cancelled."""
        attempt = 0
        while True:
            await self._any.wait()
            try:
                await self.flush()
                attempt = 0
            except Exception as error:  # noqa: BLE001 # whatever it is, they are kept for later
                logger.warning("events are acknowledged later: %s", describe(error))
                await asyncio.sleep(back_off(attempt))
                attempt += 1

    async def flush(self) -> None:
        """Acknowledge all that is done, when this returns; on an error it is kept for later."""
        async with self._flushing:  # what another flush has taken is not acknowledged yet
            self._any.clear()
            due, self._due = self._due, {}
            free, self._free = self._free, {}
            await self._acknowledge(due, free)

    async def _acknowledge(self, due: dict[str, list[str]], free: dict[str, list[str]]) -> None:
        commands = [("XACK", stream, self._group, *numbers) for stream, numbers in due.items()]
        commands += [("HDEL", owners, *holds) for owners, holds in free.items()]
        try:
            answers = await self._link.pipeline(commands)
        except BaseException:
            self._keep(due, free)
            raise
        for answer, (_, key, *_) in zip(answers, commands, strict=True):
            if isinstance(answer, Exception):
                logger.warning("an acknowledgement of %r was refused: %s", key, answer)
            if isinstance(answer, NoPermissionError):  # somebody may permit it again
                asyncio.get_running_loop().call_later(
                    _LATER, self._keep, _only(due, key), _only(free, key)
                )

    def _keep(self, due: dict[str, list[str]], free: dict[str, list[str]]) -> None:
        for kept, some in ((self._due, due), (self._free, free)):
            for key, values in some.items():
                kept.setdefault(key, []).extend(values)
        self._any.set()


def _only(some: dict[str, list[str]], key: str) -> dict[str, list[str]]:
    return {key: some[key]} if key in some else {}
