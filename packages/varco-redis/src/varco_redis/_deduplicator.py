"""Which events were handled, in Redis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from varco_events import AbstractDeduplicator
from varco_redis._part import RedisPart
from varco_redis._settings import RedisSettings

if TYPE_CHECKING:
    from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RedisDeduplicatorSettings(RedisSettings):
    """Where the ids are and how long they are remembered.

    Attributes:
        key_prefix: The beginning of their keys in Redis.
        remember: Seconds; longer than an event can be under way.
    """

    key_prefix: str = "varco:seen:"
    remember: float = 86_400.0

    def __post_init__(self) -> None:
        RedisSettings.__post_init__(self)
        self.check_above_zero("remember")


class RedisDeduplicator(RedisPart, AbstractDeduplicator):
    """Remembers ids for some time, for all processes.

    Raises:
        RedisUnavailableError: When Redis does not answer in time; the event then comes again.
    """

    def __init__(self, settings: RedisDeduplicatorSettings | None = None) -> None:
        self.settings: RedisDeduplicatorSettings = settings or RedisDeduplicatorSettings()
        super().__init__(self.settings)

    async def is_duplicate(self, event_id: UUID) -> bool:
        """Whether `event_id` was marked before."""
        return bool(await self._call("EXISTS", self._key(event_id)))

    async def mark_seen(self, event_id: UUID) -> None:
        """Remember `event_id`."""
        milliseconds = math.ceil(self.settings.remember * 1000)
        await self._call("SET", self._key(event_id), "", "PX", milliseconds)

    def _key(self, event_id: UUID) -> str:
        return f"{self.settings.key_prefix}{event_id}"
