"""Waiting for what is new in streams, or for something in this process."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING, Any, NoReturn

from varco_redis._errors import RedisUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from varco_redis._link import Link, Own


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Until `event`, no longer than `seconds`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def wait_for_streams(
    own: Own,
    positions: Mapping[str, str],
    event: asyncio.Event,
    seconds: float,
    *,
    limit: float,
    count: int = 1,
) -> Any:
    """What XREAD tells once there is something behind the positions; None after `event` first.

    It takes nothing from anybody, so it is given up when the event comes.
    """
    block = math.ceil(seconds * 1000)
    command = ("XREAD", "COUNT", count, "BLOCK", block, "STREAMS", *positions, *positions.values())
    reading = asyncio.ensure_future(own.call(*command, limit=limit))
    changing = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({reading, changing}, return_when=asyncio.FIRST_COMPLETED)
        return await reading if reading.done() else None
    finally:
        for task in (reading, changing):
            task.cancel()
        await asyncio.wait({reading, changing})
        if not reading.cancelled():
            reading.exception()  # seen


async def listen(
    link: Link,
    connection: Any,
    interval: float,
    have_room: Callable[[], Awaitable[None]] | None = None,
) -> NoReturn:
    """Have the handlers of the connection called with what is pushed, when there is room for it.

    Raises:
        RedisUnavailableError: A PING after a silent `interval` was not answered in another.
    """
    asked = False
    while True:
        answer = await connection.read_response(push_request=True, timeout=interval)
        if answer is not None:
            asked = False
            if have_room is not None:
                await have_room()
        elif asked:
            reason = f"no answer within {interval} s"
            raise RedisUnavailableError(str(link.address), "PING", reason)
        else:
            await connection.send_command("PING", check_health=False)
            asked = True


def streams_of(answer: Any) -> list[tuple[str, list[Any]]]:
    """The streams and entries of an answer of XREAD."""
    pairs: Any = answer.items() if isinstance(answer, dict) else answer or ()  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] # narrowed from Any
    return [(name.decode(), entries) for name, entries in pairs]
