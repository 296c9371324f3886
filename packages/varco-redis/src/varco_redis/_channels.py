"""Declaring, listing and deleting the channels of a bus on Streams."""

from __future__ import annotations

from typing import Any

from varco_events import MOST_CONSUMERS, ChannelConfig, ChannelManager, ConsumerState
from varco_redis._bus_settings import Names, RedisEventBusSettings
from varco_redis._consumer_states import as_map, consumer_states
from varco_redis._errors import RedisConfigError, refusals_as_data_errors
from varco_redis._link import Script
from varco_redis._part import RedisPart

# KEYS: config. ARGV: partitions, milliseconds. Answers how many partitions there are.
_DECLARE = Script("""
local known = tonumber(redis.call('HGET', KEYS[1], 'partitions')) or 0
if known > tonumber(ARGV[1]) then return known end
redis.call('HSET', KEYS[1], 'partitions', ARGV[1], 'retention', ARGV[2])
return tonumber(ARGV[1])
""")


class RedisChannelManager(RedisPart, ChannelManager):
    """The channels of one bus on Streams.

    `num_partitions` of a `ChannelConfig` says into how many streams a channel is divided,
    `retention_ms` how long events stay there that every group has handled. Fewer partitions than
    before would leave events unread, so their number only grows; events of one key may overtake
    each other at that moment.
    """

    def __init__(self, settings: RedisEventBusSettings | None = None) -> None:
        self.settings: RedisEventBusSettings = settings or RedisEventBusSettings()
        super().__init__(self.settings)
        self._names = Names(self.settings)

    async def stop(self, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 # as of a bus
        """Close the connections; they are opened again when needed."""
        await super().stop()

    async def declare_channel(self, channel: str, config: ChannelConfig | None = None) -> None:
        """Make `channel` exist; declaring it again replaces its configuration.

        Raises:
            RedisConfigError: It has more partitions than `config` says.
        """
        if config is None:
            config = ChannelConfig(num_partitions=self.settings.partitions)
        if self.settings.is_broadcast(channel):
            config = ChannelConfig(num_partitions=1, retention_ms=config.retention_ms)
        count, retention = config.num_partitions, config.retention_ms or 0
        known = await self._run(_DECLARE, (self._names.config(channel),), count, retention)
        if known > count:
            raise RedisConfigError(f"num_partitions of {channel!r}", count, f"{known} or more")
        await self._call("SADD", self._names.channels, channel)

    async def delete_channel(self, channel: str) -> None:
        """Delete `channel` with all its events and groups; an unknown one is no error."""
        await self._call("SREM", self._names.channels, channel)
        streams = await self._streams(channel)
        groups = {name for stream in streams for name, _ in await self._groups(stream)}
        keys = [key for group in groups for key in self._names.of_group(channel, group)]
        await self._call("UNLINK", self._names.config(channel), *streams, *keys)

    async def channel_exists(self, channel: str) -> bool:
        """Whether `channel` was declared, or something was published to it."""
        return bool(await self._call("SISMEMBER", self._names.channels, channel))

    async def list_channels(self) -> list[str]:
        """The channels, sorted."""
        known: Any = await self._call("SMEMBERS", self._names.channels)
        return sorted(one.decode(errors="replace") for one in known)

    async def delete_group(self, channel: str, group: str) -> None:
        """Forget a group that nobody runs any more, so that events need not wait for it."""
        for stream in await self._streams(channel):
            if await self._call("EXISTS", stream):
                with refusals_as_data_errors(stream):
                    await self._link.call("XGROUP", "DESTROY", stream, group)
        await self._call("UNLINK", *self._names.of_group(channel, group))

    async def backlog(self, channel: str, group: str | None = None) -> int:
        """How many events a group has not handled, as far as Redis can tell."""
        wanted = group or self.settings.group
        waiting = 0
        for stream in await self._streams(channel):
            for name, fields in await self._groups(stream):
                if name == wanted:
                    waiting += int(fields[b"pending"]) + int(fields.get(b"lag") or 0)
        return waiting

    async def consumers(self, *, limit: int = MOST_CONSUMERS) -> list[ConsumerState]:
        """What every group has to do in each partition of every channel, and who does it.

        In pub/sub mode, and of broadcasts, there is nothing to tell: nothing waits there.
        """
        channels = await self.list_channels()
        return await consumer_states(self._link, self._names, channels, limit)

    async def _streams(self, channel: str) -> list[str]:
        count = await self._call("HGET", self._names.config(channel), "partitions")
        return [f"{self._names.base(channel)}{number}" for number in range(int(count or 0))]

    async def _groups(self, stream: str) -> list[tuple[str, dict[bytes, Any]]]:
        """The groups of a stream by name; none when it was never written."""
        if not await self._call("EXISTS", stream):
            return []
        with refusals_as_data_errors(stream):
            found = [as_map(one) for one in await self._link.call("XINFO", "GROUPS", stream)]
        return [(fields[b"name"].decode(errors="replace"), fields) for fields in found]
