"""The settings of a `RedisEventBus`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from urllib.parse import quote

from varco_redis._errors import RedisConfigError
from varco_redis._settings import RedisSettings


class BusMode(StrEnum):
    """What carries the events."""

    STREAMS = "streams"
    """Redis Streams: at least once, in order per key, kept until every group has handled them."""

    PUBSUB = "pubsub"
    """PUBLISH: who listens at the moment gets it, and tries it once; nobody else ever does."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RedisEventBusSettings(RedisSettings):
    """Where the bus is and its habits.

    Attributes:
        key_prefix: The beginning of every key in Redis; one bus for each.
        mode: "streams" or "pubsub".
        group: Of the processes with one group each event goes to one; each group gets all events.
            What that one has no listener for is done with for its group: let all of a group listen
            to the same, and roll listeners of a new type out before anybody publishes it.
        consumer: What `XINFO CONSUMERS` calls this process; by default the name of the machine
            and a number that is free, so that a restart takes the same.
        broadcast: Patterns of channels whose events go to every process that listens, from when
            it began to. Invalidations of caches are meant for all.
        partitions: Into how many streams a channel is divided that was not declared otherwise;
            at most so many processes of a group work on it at once.
        max_length: How many events of a partition may wait; then publishing waits, and fails with
            `RedisBackPressureError` when the time limit is over. Where no group ever listened,
            the oldest make room instead.
        prefetch: How many events of a partition a process takes at a time; in pub/sub mode, how
            many it has in hand before it stops reading.
        concurrency: How many handlers run at once in a process.
        lease: Seconds without a sign of life after which others take over from a process.
        max_attempts: How often a handler is tried before the event is dead-lettered; in pub/sub
            mode it is tried once.
        retry_delay: Seconds before the second attempt; doubled for each further one.
        max_retry_delay: The most.
    """

    key_prefix: str = "varco:events:"
    mode: BusMode | str = BusMode.STREAMS
    group: str = "default"
    consumer: str | None = None
    broadcast: tuple[str, ...] = ("*cache.invalidations",)
    partitions: int = 4
    max_length: int = 100_000
    prefetch: int = 256
    concurrency: int = 64
    lease: float = 10.0
    max_attempts: int = 5
    retry_delay: float = 0.2
    max_retry_delay: float = 30.0

    def __post_init__(self) -> None:
        RedisSettings.__post_init__(self)
        self.check_above_zero(
            "partitions", "max_length", "prefetch", "concurrency", "lease", "max_attempts"
        )
        if self.mode not in {mode.value for mode in BusMode}:
            names = ", ".join(repr(mode.value) for mode in BusMode)
            raise RedisConfigError("mode", self.mode, f"one of {names}")
        for name in ("retry_delay", "max_retry_delay"):
            if getattr(self, name) < 0:
                raise RedisConfigError(name, getattr(self, name), "0 or more")
        for name in ("key_prefix", "group"):
            if not getattr(self, name):
                raise RedisConfigError(name, getattr(self, name), "give it a name")

    def is_broadcast(self, channel: str) -> bool:
        """Whether every process gets the events of `channel`."""
        return any(fnmatchcase(channel, pattern) for pattern in self.broadcast)


class Names:
    """The keys of a bus; those of a channel lie together in a cluster."""

    def __init__(self, settings: RedisEventBusSettings) -> None:
        self._prefix = settings.key_prefix
        self._group = quote(settings.group, safe="")
        self.channels = f"{settings.key_prefix}channels"
        self.consumers = self.consumers_of(settings.group)
        self.subject = f"{settings.key_prefix}pubsub:"

    def base(self, channel: str) -> str:
        """What a partition's number is put behind."""
        return f"{self._prefix}{{{quote(channel, safe='')}}}:"

    def consumers_of(self, group: str) -> str:
        """The names that the processes of a group took."""
        return f"{self._prefix}consumers:{quote(group, safe='')}"

    def config(self, channel: str) -> str:
        """The hash with the number of partitions."""
        return self.base(channel) + "config"

    def owners(self, channel: str) -> str:
        """Which process of our group has which partition."""
        return self.of_group(channel)[1]

    def of_group(self, channel: str, group: str | None = None) -> tuple[str, str]:
        """The living processes of a group, ours when None, and which has which partition."""
        name = self._group if group is None else quote(group, safe="")
        return f"{self.base(channel)}members:{name}", f"{self.base(channel)}owners:{name}"
