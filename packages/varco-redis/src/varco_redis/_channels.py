"""Declaring, listing and deleting the channels of a bus on Streams."""

from __future__ import annotations

from typing import Any

from redis.exceptions import ResponseError

from varco_events import ChannelConfig, ChannelManager
from varco_redis._bus_settings import Names, RedisEventBusSettings
from varco_redis._errors import RedisConfigError
from varco_redis._part import RedisPart


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
        place = self._names.config(channel)
        known = await self._link.call("HGET", place, "partitions")
        if known is not None and int(known) > config.num_partitions:
            raise RedisConfigError(
                f"num_partitions of {channel!r}", config.num_partitions, f"{int(known)} or more"
            )
        fields: dict[str, int] = {
            "partitions": config.num_partitions,
            "retention": config.retention_ms or 0,
        }
        await self._link.call("HSET", place, *(part for pair in fields.items() for part in pair))
        await self._link.call("SADD", self._names.channels, channel)

    async def delete_channel(self, channel: str) -> None:
        """Delete `channel` with all its events and groups; an unknown one is no error."""
        await self._link.call("SREM", self._names.channels, channel)
        count = await self._partitions(channel)
        base = self._names.base(channel)
        owned = (self._names.config(channel), self._names.members(channel))
        streams = [f"{base}{number}" for number in range(count)]
        await self._link.call("UNLINK", *streams, *owned, self._names.owners(channel))

    async def channel_exists(self, channel: str) -> bool:
        """Whether `channel` was declared, or something was published to it."""
        return bool(await self._link.call("SISMEMBER", self._names.channels, channel))

    async def list_channels(self) -> list[str]:
        """The channels, sorted."""
        known: Any = await self._link.call("SMEMBERS", self._names.channels)
        return sorted(one.decode(errors="replace") for one in known)

    async def delete_group(self, channel: str, group: str) -> None:
        """Forget a group that nobody runs any more, so that events need not wait for it."""
        base = self._names.base(channel)
        for number in range(await self._partitions(channel)):
            try:
                await self._link.call("XGROUP", "DESTROY", f"{base}{number}", group)
            except ResponseError as error:
                if "key" not in str(error):  # the stream was never written
                    raise

    async def backlog(self, channel: str, group: str | None = None) -> int:
        """How many events a group has not handled, as far as Redis can tell."""
        waiting = 0
        name = (group or self.settings.group).encode()
        for number in range(await self._partitions(channel)):
            stream = f"{self._names.base(channel)}{number}"
            if not await self._link.call("EXISTS", stream):
                continue
            for one in await self._link.call("XINFO", "GROUPS", stream):
                fields = _fields(one)
                if fields[b"name"] == name:
                    waiting += int(fields[b"pending"]) + int(fields.get(b"lag") or 0)
        return waiting

    async def _partitions(self, channel: str) -> int:
        return int(await self._link.call("HGET", self._names.config(channel), "partitions") or 0)


def _fields(answer: Any) -> dict[bytes, Any]:
    """A map, however the protocol wrote it."""
    if isinstance(answer, dict):
        return answer  # pyright: ignore[reportUnknownVariableType] # narrowed from Any
    return dict(zip(answer[::2], answer[1::2], strict=True))
