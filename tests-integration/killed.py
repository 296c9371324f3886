"""Relays and consumers that are killed, and that what they handle kills: test_kills.py."""

import asyncio
import logging
import os
import random

import redis.asyncio

from varco_domain.model import DomainModel
from varco_events import Event, EventConsumer, OutboxRelay, listen
from varco_redis import RedisEventBus, RedisEventBusSettings
from varco_sa import bootstrap

CHANNEL = "counted"


class Counted(Event):
    __event_type__ = "varco.integration.counted"
    number: int
    name: str
    fate: str = ""

    def event_key(self):
        return self.name


class Effect(DomainModel):
    number: int
    name: str


def bus_settings(url, prefix, attempts=5):
    return RedisEventBusSettings(
        url=url, key_prefix=prefix, lease=2.0, retry_delay=0.05, max_attempts=attempts
    )


async def relay(url, prefix, database):
    async with (
        bootstrap(database, Effect) as backend,
        RedisEventBus(bus_settings(url, prefix)) as bus,
        OutboxRelay(outbox=backend.outbox, bus=bus, poll_interval=0.05, batch_size=100, lease=2.5),
    ):
        await asyncio.Event().wait()


class Effects(EventConsumer):
    """Writes an effect in the transaction that remembers the event, unless it dies of it."""

    def __init__(self, backend, client, prefix):
        self.backend, self.client, self.prefix = backend, client, prefix

    @listen(Counted, channel=CHANNEL)
    async def on_counted(self, event: Counted):
        if event.fate == "poison":
            raise ValueError(event.fate)
        if event.fate == "deadly":
            die()
        dies_at = None
        if event.fate == "deadly once" and await self.client.sadd(
            f"{self.prefix}died", event.number
        ):
            dies_at = event.number % 3
        async with self.backend.uow_provider.make_uow() as uow:
            if await uow.inbox.accept(event.event_id, "effects"):
                await uow.effects.save(Effect(number=event.number, name=event.name))
            if dies_at == 0:
                die()
        if dies_at == 1:
            die()
        await self.client.rpush(f"{self.prefix}log", f"{event.name} {event.number}")
        if dies_at == 2:
            die()


def die():
    os._exit(9)  # as a segmentation fault would


async def consume(url, prefix, database, attempts):
    async with (
        bootstrap(database, Effect) as backend,
        redis.asyncio.Redis.from_url(url) as client,
    ):
        bus = RedisEventBus(bus_settings(url, prefix, attempts))
        Effects(backend, client, prefix).register_to(bus)
        async with bus:
            await asyncio.Event().wait()


if __name__ == "__main__":
    logging.disable()
    random.seed()
    role, *given = globals()["arguments"]  # the test puts them there
    asyncio.run({"relay": relay, "consume": consume}[role](*given))
