"""Acknowledging events, many in one round trip."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from varco_redis._errors import described
from varco_redis._link import back_off

if TYPE_CHECKING:
    from varco_redis._link import Link

logger = logging.getLogger("varco_redis.bus")


class Acks:
    """What a group has handled and Redis is not yet told of.

    State is protected by never awaiting between looking and changing.
    """

    def __init__(self, link: Link, group: str) -> None:
        self._link = link
        self._group = group
        self._due: dict[str, list[str]] = {}
        self._any = asyncio.Event()

    def add(self, stream: str, number: str) -> None:
        """Acknowledge it soon."""
        self._due.setdefault(stream, []).append(number)
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
                logger.warning("events are acknowledged later: %s", described(error))
                await asyncio.sleep(back_off(attempt))
                attempt += 1

    async def flush(self) -> None:
        """Acknowledge all that is done; on an error it is kept for later."""
        self._any.clear()
        due, self._due = self._due, {}
        if not due:
            return
        try:
            answers = await self._link.pipeline(
                [("XACK", stream, self._group, *numbers) for stream, numbers in due.items()]
            )
        except BaseException:
            for stream, numbers in due.items():
                self._due.setdefault(stream, []).extend(numbers)
            self._any.set()
            raise
        for answer in answers:
            if isinstance(answer, Exception):
                logger.warning("an acknowledgement was refused: %s", answer)
