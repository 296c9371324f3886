"""A process of one version of the code, in the middle of a deployment: test_deployment.py."""

import asyncio
import json
import logging
from contextlib import nullcontext, suppress
from pathlib import Path

from varco_events import (
    Event,
    EventConsumer,
    EventDecodeError,
    InMemoryEventBus,
    OutboxEntry,
    OutboxRelay,
    listen,
    upcaster,
)
from varco_redis import RedisChannelManager, RedisEventBus, RedisEventBusSettings
from varco_resilience import RetryPolicy
from varco_sa import bootstrap

CHANNEL = "shop"


def classes(code):
    """The events as `code` has them: one with a field that is renamed, one with a field more."""
    if code == "old":

        class Placed(Event):
            __event_type__ = "varco.deployment.placed"
            number: int
            euros: int

            def cents_of(self):
                return self.euros * 100

        class Shipped(Event):
            __event_type__ = "varco.deployment.shipped"
            number: int

        return Placed, Shipped

    class Placed(Event):
        __event_type__ = "varco.deployment.placed"
        __event_version__ = 2
        number: int
        cents: int

        def cents_of(self):
            return self.cents

    @upcaster(Placed, from_version=1)
    def _in_cents(fields):
        return {"cents": fields.pop("euros") * 100, **fields}

    class Shipped(Event):
        __event_type__ = "varco.deployment.shipped"
        number: int
        coupon: str | None = None

    return Placed, Shipped


class Process:
    """What one process of `code` can do; what it has handled goes into `log`."""

    def __init__(self, code, log, database, url=None, prefix=None):
        self.code, self.log, self.database = code, Path(log), database
        self.placed, self.shipped = classes(code)
        self.settings = url and RedisEventBusSettings(
            url=url, key_prefix=prefix, lease=60.0, max_attempts=2, retry_delay=0.01, partitions=4
        )

    def consumer(self, inbox):
        process = self

        class Shop(EventConsumer):
            @listen(self.placed, channel=CHANNEL, inbox=inbox)
            async def on_placed(self, event):
                process.write("placed", event.number, event.cents_of())

            @listen(self.shipped, channel=CHANNEL, inbox=inbox)
            async def on_shipped(self, event):
                process.write("shipped", event.number, getattr(event, "coupon", None))

        Shop.__qualname__ = "Shop"  # in either code
        return Shop()

    def write(self, *what):
        with self.log.open("a") as log:
            log.write(json.dumps([self.code, *what]) + "\n")

    def bus(self, backend):
        bus = RedisEventBus(self.settings) if self.settings else InMemoryEventBus()
        self.consumer(backend.inbox).register_to(bus)
        return bus

    async def save(self, backend, first, last):
        for number in range(first, last):
            price = {"euros": number} if self.code == "old" else {"cents": number * 100}
            more = {} if self.code == "old" else {"coupon": f"C{number}"}
            for event in (
                self.placed(number=number, **price),
                self.shipped(number=number, **more),
            ):
                await backend.outbox.save(OutboxEntry.from_event(event, channel=CHANNEL))

    async def relay(self, backend):
        bus = self.bus(backend)
        policy = RetryPolicy(max_attempts=2, base_delay=0, max_delay=0)
        relay = OutboxRelay(
            outbox=backend.outbox, bus=bus, dlq=backend.dead_letters, retry_policy=policy
        )
        while await relay.run_once():
            pass
        await bus.stop()

    async def consume(self, backend):
        async with self.bus(backend), RedisChannelManager(self.settings) as manager:
            await asyncio.sleep(0.2)
            while await manager.backlog(CHANNEL):
                await asyncio.sleep(0.02)

    async def redrive(self, backend):
        bus = self.bus(backend)
        letters = bus.dead_letters if self.settings else backend.dead_letters
        # What old code cannot read ends it there.
        with suppress(EventDecodeError) if self.code == "old" else nullcontext():
            await letters.redrive(bus)
        await bus.stop()

    async def run(self, commands):
        async with bootstrap(self.database) as backend:
            for name, *given in commands:
                await getattr(self, name)(backend, *given)


if __name__ == "__main__":
    logging.disable()
    where, todo = globals()["arguments"]  # the test puts them there
    asyncio.run(Process(*where).run(todo))
