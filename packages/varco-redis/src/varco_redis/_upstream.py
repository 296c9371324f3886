"""What those have in common that take events from Redis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from varco_events import AbstractDeadLetterQueue, Workers
    from varco_redis._bus_settings import Names, RedisEventBusSettings
    from varco_redis._link import Link


@dataclass(frozen=True, slots=True)
class Source:
    """Where events come from, and who handles them."""

    link: Link
    names: Names
    settings: RedisEventBusSettings
    workers: Workers
    dead_letters: AbstractDeadLetterQueue
    channels: Callable[[], set[str]]
