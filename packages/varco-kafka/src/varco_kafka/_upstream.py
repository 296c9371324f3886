"""What those have in common that take events from Kafka."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from varco_events import TransportUpstream
from varco_kafka._partition import Partition
from varco_kafka._received import Received

if TYPE_CHECKING:
    from collections.abc import Callable

    from varco_events import AbstractDeadLetterQueue, Workers
    from varco_kafka._bus_settings import KafkaEventBusSettings
    from varco_kafka._link import Link
    from varco_kafka._topics import Topics


@dataclass(frozen=True, slots=True)
class Source:
    """Where events come from, and who handles them."""

    link: Link
    topics: Topics
    settings: KafkaEventBusSettings
    workers: Workers
    dead_letters: AbstractDeadLetterQueue
    channels: Callable[[], set[str]]


class Taking(TransportUpstream[Partition, Received]):
    """Takes events of the topics of the channels that are listened to. One event loop owns it."""

    def __init__(self, source: Source) -> None:
        super().__init__(source.workers, source.dead_letters, source.settings.group)
        self._link = source.link
        self._topics = source.topics
        self._settings = source.settings
        self._channels = source.channels
        self._poked = asyncio.Event()

    def poke(self) -> None:
        """The channels have changed."""
        self._poked.set()
