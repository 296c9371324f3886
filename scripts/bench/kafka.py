"""varco-kafka against bare aiokafka, FastStream and confluent-kafka.

All on one stand-in for Kafka that is started for the run, unless VARCO_TEST_KAFKA_URL names a
cluster. Each consumer is in a group and commits what is done.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from _harness import Case, Figure, Step, lazily, main
from pydantic import BaseModel

from varco_events import Event

sys.path.insert(0, str(Path(__file__).parents[1]))

URL = "VARCO_TEST_KAFKA_URL"
EVENTS = 1000
PARTITIONS = 4
SESSION = 120  # seconds: a contender whose turn it is not gives no sign of life
BATCHES = f"{EVENTS} events from publish to a handler"
LATENCY = "p50 from publish to handler at low load"


class Plain(BaseModel):
    number: int


class Measured(Event):
    __event_type__ = "bench.kafka.measured"
    number: int


def servers() -> str:
    return os.environ[URL].removeprefix("kafka://")


def name() -> str:
    return f"varco-bench-{secrets.token_hex(4)}"


class Count:
    """Tells when so many were handled."""

    def __init__(self) -> None:
        self._left = 0
        self._done = asyncio.Event()

    def expect(self, count: int) -> None:
        self._left += count
        self._done.clear()

    def one(self) -> None:
        self.some(1)

    def some(self, count: int) -> None:
        self._left -= count
        if not self._left:
            self._done.set()

    async def wait(self) -> None:
        async with asyncio.timeout(60):
            await self._done.wait()


async def make_topic(topic: str) -> None:
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic

    admin = AIOKafkaAdminClient(bootstrap_servers=servers())
    await admin.start()
    await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    await admin.close()


# Each of these makes what sends so many events, and tells `count` of what is handled.

type Send = Callable[[int], Awaitable[object]]


async def varco(count: Count) -> Send:
    from varco_kafka import KafkaEventBus, KafkaEventBusSettings

    settings = KafkaEventBusSettings(
        url=os.environ[URL], topic=f"{name()}.{{channel}}", group=name(), lease=SESSION
    )
    bus = KafkaEventBus(settings)

    async def handle(_event: Event) -> None:
        count.one()

    bus.subscribe(Measured, handle, channel="bench")
    await bus.start()

    async def send(events: int) -> None:
        await bus.publish_many([(Measured(number=n), "bench") for n in range(events)])

    return send


async def aiokafka(count: Count, *, whole: bool = False) -> Send:
    """With a commit for each batch; `whole`: the events and headers that varco sends, not less."""
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

    topic = name()
    await make_topic(topic)
    producer = AIOKafkaProducer(bootstrap_servers=servers(), acks="all", enable_idempotence=True)
    await producer.start()
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=servers(),
        group_id=topic,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=1000 * SESSION,
    )
    await consumer.start()

    model = Measured if whole else Plain

    async def handle(_event: BaseModel) -> None:
        count.one()

    async def consume() -> None:
        while True:
            found = await consumer.getmany(timeout_ms=1000)
            for records in found.values():
                for record in records:
                    await handle(model.model_validate_json(record.value or b""))
            if found:
                await consumer.commit()

    keep.append(asyncio.create_task(consume()))

    async def send(events: int) -> None:
        sent = list[asyncio.Future[Any]]()
        for n in range(events):
            event = model(number=n)
            headers = (
                [
                    ("varco-id", str(event.event_id).encode()),
                    ("varco-type", b"bench.kafka.measured"),
                    ("varco-version", b"1"),
                    ("varco-time", event.timestamp.isoformat().encode()),
                ]
                if isinstance(event, Measured)
                else []
            )
            value = event.model_dump_json().encode()
            sent.append(await producer.send(topic, value, headers=headers))
        await asyncio.wait(sent)

    return send


async def faststream(count: Count) -> Send:
    from faststream.kafka import KafkaBroker

    topic = name()
    await make_topic(topic)
    broker = KafkaBroker(servers(), acks="all", enable_idempotence=True, logger=None)

    @broker.subscriber(
        topic,
        group_id=topic,
        auto_offset_reset="earliest",
        session_timeout_ms=1000 * SESSION,
    )
    async def handle(_event: Plain) -> None:
        count.one()

    await broker.start()

    async def send(events: int) -> None:
        sent = [
            await broker.publish(Plain(number=n), topic, no_confirm=True) for n in range(events)
        ]
        await asyncio.wait(sent)

    return send


async def confluent(count: Count) -> Send:
    """Its consumer in a thread; sent with its producer, both without an event loop."""
    from confluent_kafka import Consumer, Producer

    topic = name()
    await make_topic(topic)
    where = {"bootstrap.servers": servers()}
    producer = Producer({**where, "enable.idempotence": True, "linger.ms": 0})
    consumer = Consumer(
        {
            **where,
            "group.id": topic,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([topic])
    loop = asyncio.get_running_loop()

    def consume() -> None:
        while True:
            found = consumer.consume(500, 0.01)
            for one in found:
                Plain.model_validate_json(one.value() or b"")
            if found:
                consumer.commit(asynchronous=False)
                loop.call_soon_threadsafe(count.some, len(found))

    threading.Thread(target=consume, daemon=True).start()

    async def send(events: int) -> None:
        for n in range(events):
            producer.produce(topic, Plain(number=n).model_dump_json().encode())
        await asyncio.to_thread(producer.flush)

    return send


keep: list[object] = []


def batches(make: Callable[[Count], Awaitable[Send]]) -> Callable[[], Callable[[], object]]:
    async def prepare() -> Step:
        count = Count()
        send = await make(count)

        async def step() -> None:
            count.expect(EVENTS)
            await send(EVENTS)
            await count.wait()

        return step

    return lambda: lazily(prepare)


def latency(make: Callable[[Count], Awaitable[Send]]) -> Callable[[], float]:
    """The median milliseconds from sending one to its handler, with a pause after each."""

    async def measure() -> float:
        count, spent = Count(), list[float]()
        send = await make(count)
        for _ in range(300):
            count.expect(1)
            start = time.perf_counter()
            await send(1)
            await count.wait()
            spent.append(time.perf_counter() - start)
            await asyncio.sleep(0.005)
        return 1000 * statistics.median(spent[50:])

    return lambda: asyncio.run(measure())


CONTENDERS: dict[str, Callable[[Count], Awaitable[Send]]] = {
    "varco-kafka": varco,
    "aiokafka": aiokafka,
    "aiokafka, with varco's events and headers": partial(aiokafka, whole=True),
    "faststream": faststream,
    "confluent-kafka": confluent,
}

CASES = [
    *(Case(BATCHES, one, batches(make), ours=make is varco) for one, make in CONTENDERS.items()),
    *(
        Figure(LATENCY, one, "ms", latency(make), ours=make is varco)
        for one, make in CONTENDERS.items()
    ),
]

if __name__ == "__main__":
    if URL in os.environ:
        main(CASES, one_core=False)
    else:
        import kafka_stand_ins

        with tempfile.TemporaryDirectory(prefix="varco-bench-") as folder:
            server = kafka_stand_ins.Noida(Path(folder)).start()
            os.environ[URL] = server.url
            try:
                main(CASES, one_core=False)
            finally:
                server.stop()
