"""Processes that tests kill and freeze; each says "ready" when it works.

They are forked off a process that has imported everything: `line` leads to the test.
"""

import asyncio
import os
from pathlib import Path

from varco_events import Event
from varco_kafka import KafkaChannelManager, KafkaEventBus, KafkaEventBusSettings


class Counted(Event):
    __event_type__ = "varco.kafka.test.counted"
    number: int
    name: str = ""
    deadly: bool = False

    def event_key(self):
        return self.name or None


class Log:
    """A file that several processes write whole lines to."""

    def __init__(self, path):
        self.path = Path(path)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, text):
        os.write(self._file, f"{text}\n".encode())


async def log(line, options, path):
    """Handles slowly, and only writes down in which order."""
    bus, log = KafkaEventBus(KafkaEventBusSettings(**options)), Log(path)

    async def handle(event):
        await asyncio.sleep(0.002)
        log.write(f"{event.name} {event.number}")

    bus.subscribe(Counted, handle, channel="c")
    async with bus:
        while not bus.lags():
            await asyncio.sleep(0.01)
        line.send("ready")
        await asyncio.to_thread(line.recv)  # to leave


async def die(line, options, path, pause):
    """Handles until it dies of something, or until nothing waits."""
    settings, log = KafkaEventBusSettings(**options), Log(path)
    bus = KafkaEventBus(settings)

    async def handle(event):
        log.write(f"begun {event.number}")
        if event.deadly:
            os._exit(9)  # as a segmentation fault would
        if pause:
            await asyncio.sleep(pause)  # so that others are under way when one dies
        log.write(f"done {event.number}")

    bus.subscribe(Counted, handle, channel="c")
    async with bus, KafkaChannelManager(settings) as manager:
        while await manager.backlog("c"):
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    role, *arguments = globals()["arguments"]  # the test puts them there
    asyncio.run({f.__name__: f for f in (log, die)}[role](*arguments))
