"""Relays and consumers of Kafka that are killed, join and leave: test_kills_kafka.py."""

import asyncio
import logging
import os
import signal

from varco_domain.model import DomainModel
from varco_events import Event, EventConsumer, OutboxRelay, listen
from varco_kafka import KafkaEventBus, KafkaEventBusSettings
from varco_sa import bootstrap

CHANNEL = "counted"


class Counted(Event):
    __event_type__ = "varco.integration.counted_by_kafka"
    number: int
    name: str
    poison: bool = False

    def event_key(self):
        return self.name


class Effect(DomainModel):
    number: int
    name: str


async def relay(options, database, _):
    async with (
        bootstrap(database, Effect) as backend,
        KafkaEventBus(KafkaEventBusSettings(**options)) as bus,
        OutboxRelay(outbox=backend.outbox, bus=bus, poll_interval=0.05, batch_size=100, lease=2.5),
    ):
        await told_to_leave()


class Effects(EventConsumer):
    """Writes an effect in the transaction that remembers the event, and a line of each call."""

    def __init__(self, backend, path):
        self.backend = backend
        self.log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    @listen(Counted, channel=CHANNEL)
    async def on_counted(self, event: Counted):
        if event.poison:
            raise ValueError("poison")
        async with self.backend.uow_provider.make_uow() as uow:
            if await uow.inbox.accept(event.event_id, "effects"):
                await uow.effects.save(Effect(number=event.number, name=event.name))
        os.write(self.log, f"{event.name} {event.number}\n".encode())


async def consume(options, database, path):
    async with bootstrap(database, Effect) as backend:
        bus = KafkaEventBus(KafkaEventBusSettings(**options), dead_letters=backend.dead_letters)
        Effects(backend, path).register_to(bus)
        async with bus:
            await told_to_leave()


async def told_to_leave():
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    await told.wait()


if __name__ == "__main__":
    logging.disable()
    role, *given = globals()["arguments"]  # the test puts them there
    asyncio.run({"relay": relay, "consume": consume}[role](*given))
