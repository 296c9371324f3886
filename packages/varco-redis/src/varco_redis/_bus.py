"""The event bus on Redis."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
import zlib
from typing import TYPE_CHECKING, Any, ClassVar

from redis.exceptions import NoPermissionError

from varco_events import (
    AbstractDeadLetterQueue,
    BusStoppedError,
    EventEnvelope,
    EventMiddleware,
    EventSerializer,
    HoldingBack,
    JsonEventSerializer,
    TransportBus,
    Workers,
)
from varco_redis._bus_scripts import PUBLISH
from varco_redis._bus_settings import BusMode, Names, RedisEventBusSettings
from varco_redis._dead_letters import RedisDeadLetterQueue, RedisDeadLetterQueueSettings
from varco_redis._errors import (
    RedisBackPressureError,
    RedisChannelRefusedError,
    RedisDataError,
    RedisUnavailableError,
    refusals_as_data_errors,
)
from varco_redis._group import GroupMember
from varco_redis._link import Link
from varco_redis._listening import BroadcastListener, PubSubListener
from varco_redis._received import packed, written
from varco_redis._upstream import Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from varco_redis._link import Call, Command

logger = logging.getLogger("varco_redis.bus")

_UNKNOWN = -1
_PAUSE, _MOST_PAUSE = 0.01, 0.25


class RedisEventBus(TransportBus[RedisEventBusSettings, Link]):
    """Brings events to the handlers of all processes that listen, through Redis Streams.

    At least once: an event that `publish` returned for is handled although processes die at any
    moment, by one process of each group. Events of a channel that have one `event_key()` are
    handled in the order in which they were published, by whichever process. A handler that fails
    is tried again, alone, with back-off; then the event goes to the dead letter queue. Events
    that not every group has handled are never dropped: a channel that is full of them makes
    publishing wait, then fail.

    Publishing needs no `start()`; handlers run between `start()` and `stop()`. Belongs to one
    event loop.

    Raises:
        RedisUnavailableError: From publishing, when Redis does not answer in time.
        RedisBackPressureError: Likewise, when the channel is full.
        RedisDataError: Likewise, when there is something else under the keys of the channel.
    """

    chunk: ClassVar[int] = 250

    def __init__(
        self,
        settings: RedisEventBusSettings | None = None,
        *,
        serializer: EventSerializer | None = None,
        dead_letters: AbstractDeadLetterQueue | None = None,
        middleware: Iterable[EventMiddleware] = (),
    ) -> None:
        """Nothing is connected before the first operation.

        Args:
            settings: The defaults of `RedisEventBusSettings` when None.
            serializer: Events to bytes and back.
            dead_letters: Where events go that failed too often; a `RedisDeadLetterQueue` beside
                the bus when None.
            middleware: Wrapped around every delivery to a handler, the first outermost.
        """
        settings = settings or RedisEventBusSettings()
        serializer, own = serializer or JsonEventSerializer(), None
        if dead_letters is None:
            own = dead_letters = RedisDeadLetterQueue(
                _letters_beside(settings), serializer=serializer
            )
        super().__init__(
            settings,
            Link(settings),
            serializer=serializer,
            dead_letters=dead_letters,
            own_letters=own,
            middleware=middleware,
            logger=logger,
        )
        self._names = Names(settings)
        self._known: set[str] = set()
        self._round_robin = itertools.count(random.randrange(1000))  # noqa: S311 # not for secrets

    def _parts(
        self, workers: Workers
    ) -> tuple[GroupMember | None, BroadcastListener | PubSubListener]:
        source = Source(
            self._link,
            self._names,
            self.settings,
            workers,
            self.dead_letters,
            self._dispatcher.channels,
        )
        if self.settings.mode == BusMode.PUBSUB:
            return None, PubSubListener(source)
        return GroupMember(source), BroadcastListener(source)

    async def _publish(self, envelopes: Sequence[EventEnvelope]) -> None:
        """Append all; waits for space within the time limit."""
        until, pause = time.monotonic() + self.settings.timeout, _PAUSE
        for at in range(0, len(envelopes), self.chunk):
            some = list(envelopes[at : at + self.chunk])
            while errors := await self._sent(some, HoldingBack()):
                error = next(iter(errors.values()))
                if not isinstance(error, RedisBackPressureError) or time.monotonic() > until:
                    raise error
                some = [envelope for envelope in some if id(envelope) in errors]
                await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 # not for secrets
                pause = min(2 * pause, _MOST_PAUSE)

    async def _sent(
        self, envelopes: Sequence[EventEnvelope], held: HoldingBack
    ) -> dict[int, Exception]:
        """What was not taken, and why, by the id() of the envelope; each channel by itself."""
        if self._stopped:
            return _all(envelopes, BusStoppedError(envelopes[0].event_type))
        found: dict[int, Exception] = {}
        if held.is_holding:
            found = {id(one): why for one in envelopes if (why := held.of(one)) is not None}
            envelopes = [one for one in envelopes if id(one) not in found]
        errors = await self._written(envelopes)
        if errors:
            for one in envelopes:
                if id(one) in errors:
                    held.add(one, errors[id(one)])
        return found | errors

    async def _written(self, envelopes: Sequence[EventEnvelope]) -> dict[int, Exception]:
        by_channel: dict[str, list[EventEnvelope]] = {}
        for envelope in envelopes:
            by_channel.setdefault(envelope.channel, []).append(envelope)
        try:
            if self.settings.mode == BusMode.PUBSUB:
                return await self._shout(by_channel)
            errors = await self._declare(by_channel)
            answers = await self._append(by_channel)
            if gone := [channel for channel, answer in answers.items() if answer == _UNKNOWN]:
                # Redis was flushed since they were declared.
                self._known.difference_update(gone)
                errors |= await self._declare(gone)
                answers |= await self._append({one: by_channel[one] for one in gone})
        except RedisUnavailableError as error:
            return _all(envelopes, error)
        found: dict[int, Exception] = {}
        full = self.settings.max_length
        for channel, some in by_channel.items():
            taken = answers.get(channel, 0)
            if isinstance(taken, Exception):
                errors[channel], taken = self._refusal(channel, taken), 0
            if taken < len(some):
                why = errors.get(channel) or RedisBackPressureError(channel, full)
                found |= _all(some[taken:], why)
        return found

    async def _append(self, by_channel: Mapping[str, Sequence[EventEnvelope]]) -> dict[str, Any]:
        """How many of each channel that is known were taken, or why none was."""
        names = self._names
        known = [channel for channel in by_channel if channel in self._known]
        calls: list[Call] = []
        for channel in known:
            words: list[Any] = [self.settings.max_length]
            for envelope in by_channel[channel]:
                fields = written(envelope)
                words += (self._hash(envelope), len(fields), *fields)
            calls.append((PUBLISH, (names.config(channel), names.base(channel)), words))
        return dict(zip(known, await self._link.run_each(calls), strict=True))

    def _hash(self, envelope: EventEnvelope) -> int:
        """What the partition is found by."""
        if envelope.key is None:
            return next(self._round_robin)
        return zlib.crc32(envelope.key.encode(errors="surrogatepass"))

    async def _shout(
        self, by_channel: Mapping[str, Sequence[EventEnvelope]]
    ) -> dict[int, Exception]:
        all_of_them = [envelope for some in by_channel.values() for envelope in some]
        subject = self._names.subject
        answers = await self._link.pipeline(
            [("PUBLISH", subject + one.channel, packed(one)) for one in all_of_them]
        )
        return {
            id(one): self._refusal(one.channel, answer)
            for one, answer in zip(all_of_them, answers, strict=True)
            if isinstance(answer, Exception)
        }

    def _refusal(self, channel: str, error: Exception) -> Exception:
        if isinstance(error, NoPermissionError):
            return RedisChannelRefusedError(channel, str(error))
        return RedisDataError(self._names.base(channel), str(error))

    async def _declare(self, channels: Iterable[str]) -> dict[str, Exception]:
        """Let others find channels that are new to this process; those that Redis refuses."""
        new = [channel for channel in channels if channel not in self._known]
        if not new:
            return {}
        with refusals_as_data_errors(self._names.channels):
            await self._link.call("SADD", self._names.channels, *new)
        commands: list[Command] = []
        for channel in new:
            count = 1 if self.settings.is_broadcast(channel) else self.settings.partitions
            commands.append(("HSETNX", self._names.config(channel), "partitions", count))
        answers = dict(zip(new, await self._link.pipeline(commands), strict=True))
        refused = {
            channel: self._refusal(channel, answer)
            for channel, answer in answers.items()
            if isinstance(answer, Exception)
        }
        self._known.update(answers.keys() - refused.keys())
        self._poke()
        return refused


def _all(envelopes: Iterable[EventEnvelope], error: Exception) -> dict[int, Exception]:
    return {id(envelope): error for envelope in envelopes}


def _letters_beside(settings: RedisEventBusSettings) -> RedisDeadLetterQueueSettings:
    shared = RedisDeadLetterQueueSettings.__mro__[1]
    values = {name: getattr(settings, name) for name in shared.__slots__}  # type: ignore[attr-defined] # a dataclass with slots
    return RedisDeadLetterQueueSettings(key_prefix=settings.key_prefix, **values)
