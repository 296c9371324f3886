"""Dead letters in Redis."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from varco_events import (
    AbstractDeadLetterQueue,
    DeadLetterEntry,
    DeadLetterQueueFullError,
    EventEnvelope,
    EventSerializer,
)
from varco_redis._errors import RedisConfigError
from varco_redis._link import Script
from varco_redis._part import RedisPart
from varco_redis._received import packed, read_head
from varco_redis._settings import RedisSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger("varco_redis.dlq")

# KEYS of all: `all` and `ready`, sorted by number, `leased`, sorted by the end of the lease,
# `data`, and `damaged`, what could not be read.
_PUSH = Script("""
if redis.call('HEXISTS', KEYS[4], ARGV[1]) == 1 then return 1 end
local limit = tonumber(ARGV[2])
if limit > 0 and redis.call('HLEN', KEYS[4]) >= limit then return 0 end
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local number = (tonumber(last[2]) or 0) + 1
redis.call('HSET', KEYS[4], ARGV[1], ARGV[3])
redis.call('ZADD', KEYS[1], number, ARGV[1])
redis.call('ZADD', KEYS[2], number, ARGV[1])
return 1
""")
# Also KEYS: `popped:...`, what this call took, for when it is repeated because an answer was lost.
_POP = Script("""
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local taken = redis.call('LRANGE', KEYS[6], 0, -1)
if #taken == 0 then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now)) do
    local number = redis.call('ZSCORE', KEYS[1], id)
    if number then redis.call('ZADD', KEYS[2], number, id) end
    redis.call('ZREM', KEYS[3], id)
  end
  taken = redis.call('ZRANGE', KEYS[2], 0, ARGV[1] - 1)
end
local found = {}
for _, id in ipairs(taken) do
  local data = redis.call('HGET', KEYS[4], id)
  if redis.call('ZREM', KEYS[2], id) == 1 then
    redis.call('RPUSH', KEYS[6], id)
    if data then redis.call('ZADD', KEYS[3], now + ARGV[2], id) end
    if not data then redis.call('ZREM', KEYS[1], id) end
  end
  if data then
    found[#found + 1] = id
    found[#found + 1] = data
  end
end
redis.call('PEXPIRE', KEYS[6], ARGV[3])
return found
""")
_PEEK = Script("""
local found = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, ARGV[1] - 1)) do
  local data = redis.call('HGET', KEYS[4], id)
  if data then
    found[#found + 1] = id
    found[#found + 1] = data
  end
end
return found
""")
_ACK = Script("""
for i = 1, 3 do redis.call('ZREM', KEYS[i], ARGV[1]) end
return redis.call('HDEL', KEYS[4], ARGV[1])
""")
_NACK = Script("""
local number = redis.call('ZSCORE', KEYS[1], ARGV[1])
if number and redis.call('ZREM', KEYS[3], ARGV[1]) == 1 then
  redis.call('ZADD', KEYS[2], number, ARGV[1])
end
""")
_SET_ASIDE = Script("""
local data = redis.call('HGET', KEYS[4], ARGV[1])
for i = 1, 3 do redis.call('ZREM', KEYS[i], ARGV[1]) end
redis.call('HDEL', KEYS[4], ARGV[1])
if data then redis.call('HSET', KEYS[5], ARGV[1], data) end
""")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RedisDeadLetterQueueSettings(RedisSettings):
    """Where the queue is.

    Attributes:
        key_prefix: The beginning of its keys in Redis.
        name: One queue for each.
        max_size: A push beyond it is refused; None for no limit.
    """

    key_prefix: str = "varco:"
    name: str = "dead-letters"
    max_size: int | None = None

    def __post_init__(self) -> None:
        RedisSettings.__post_init__(self)
        self.check_above_zero("max_size")
        if not self.name:
            raise RedisConfigError("name", self.name, "give the queue a name")


class RedisDeadLetterQueue(RedisPart, AbstractDeadLetterQueue):
    """Failed events in Redis; every operation is one step that no crash can cut in two.

    Leases are measured with Redis's clock. An entry that cannot be read is set aside in the hash
    `...damaged`, logged, and holds up no other. Safe for any number of processes.
    """

    def __init__(
        self,
        settings: RedisDeadLetterQueueSettings | None = None,
        *,
        serializer: EventSerializer | None = None,
    ) -> None:
        self.settings: RedisDeadLetterQueueSettings = settings or RedisDeadLetterQueueSettings()
        super().__init__(self.settings)
        self._serializer = serializer
        self._base = f"{{{self.settings.key_prefix}{self.settings.name}}}:"
        self._keys = [self._base + name for name in ("all", "ready", "leased", "data", "damaged")]

    async def push(self, entry: DeadLetterEntry) -> None:
        """Append `entry`; an entry id that is there already is kept once.

        Raises:
            DeadLetterQueueFullError: The queue holds `max_size` entries.
        """
        limit = self.settings.max_size
        if not await self._run(_PUSH, self._keys, str(entry.entry_id), limit or 0, _encoded(entry)):
            raise DeadLetterQueueFullError(entry.entry_id, limit or 0)

    async def pop_batch(
        self, *, limit: int = 10, visibility_timeout: float = 30.0
    ) -> list[DeadLetterEntry]:
        """Lease the oldest entries that are visible, for `visibility_timeout` seconds."""
        if limit < 1:
            return []
        keys = [*self._keys, f"{self._base}popped:{os.urandom(16).hex()}"]
        lease, memory = (
            max(1, math.ceil(seconds * 1000))
            for seconds in (visibility_timeout, self.settings.timeout)
        )
        return await self._readable(await self._run(_POP, keys, limit, lease, memory))

    async def ack(self, entry_id: UUID) -> None:
        """Remove an entry for good; an unknown id is no error."""
        await self._run(_ACK, self._keys, str(entry_id))

    async def nack(self, entry_id: UUID) -> None:
        """Make a leased entry visible again, at its old place; an unknown id is no error."""
        await self._run(_NACK, self._keys, str(entry_id))

    async def count(self) -> int:
        """How many entries are kept, leased ones included."""
        return int(await self._call("HLEN", self._keys[3]))

    async def peek(self, *, limit: int = 10) -> list[DeadLetterEntry]:
        """The oldest entries, leased ones included, without leasing them."""
        if limit < 1:
            return []
        return await self._readable(await self._run(_PEEK, self._keys, limit))

    async def _readable(self, found: Sequence[bytes]) -> list[DeadLetterEntry]:
        entries: list[DeadLetterEntry] = []
        for name, data in zip(found[::2], found[1::2], strict=True):
            try:
                entries.append(_decoded(UUID(name.decode()), data, self._serializer))
            except Exception as error:  # noqa: BLE001 # whatever bytes of others lead to
                await self._run(_SET_ASIDE, self._keys, name)
                logger.error(  # noqa: TRY400 # the bytes are kept, the stack tells nothing
                    "dead letter %r cannot be read and was set aside in %r: %r",
                    name,
                    self._keys[4],
                    error,
                )
        return entries


def _encoded(entry: DeadLetterEntry) -> bytes:
    envelope = entry.envelope
    return packed(
        envelope,
        channel=entry.channel,
        handler=entry.handler_name,
        group=entry.group,
        origin=entry.origin,
        error_type=entry.error_type,
        error_message=entry.error_message,
        attempts=entry.attempts,
        first=entry.first_failed_at.isoformat(),
        last=entry.last_failed_at.isoformat(),
        # For processes of the first version, which know no envelope.
        event_id=str(envelope.event_id),
        type=envelope.event_type,
    )


def _decoded(entry_id: UUID, data: bytes, serializer: EventSerializer | None) -> DeadLetterEntry:
    line, _, payload = data.partition(b"\n")
    head: dict[str, Any] = json.loads(line)
    channel = str(head["channel"])
    if "envelope" in head:
        envelope = read_head(head["envelope"], payload)
    else:
        envelope = EventEnvelope.around(
            payload,
            event_type=str(head["type"]),
            channel=channel,
            event_id=UUID(head["event_id"]),
        )
    if serializer is not None:
        with contextlib.suppress(Exception):  # whatever the bytes lead to: it stays a raw event
            envelope = envelope.replace(event=serializer.deserialize(payload))
    return DeadLetterEntry(
        envelope=envelope,
        channel=channel,
        handler_name=str(head["handler"]),
        error_type=str(head["error_type"]),
        error_message=str(head["error_message"]),
        attempts=int(head["attempts"]),
        first_failed_at=datetime.fromisoformat(head["first"]),
        last_failed_at=datetime.fromisoformat(head["last"]),
        entry_id=entry_id,
        group=str(head.get("group", "")),
        origin=str(head.get("origin", "")),
    )
