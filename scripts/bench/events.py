"""Events: the bus, the serializer, the relay, and what they cost in memory and waiting.

The bound is a dict of handler lists and one await each. bubus, at 1.2 ms an event, is not here: it
stops answering under the harness's repetitions. `sqlite_store.py` of the tests has the
SQLite outbox; the published relay runs on the same table through the three methods that it knows.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import resource
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from _harness import Case, Figure, Published, main

from varco_events import (
    Event,
    InMemoryEventBus,
    InMemoryOutboxRepository,
    JsonEventSerializer,
    OutboxEntry,
    OutboxRelay,
)

TESTS = Path(__file__).parents[2] / "packages/varco-events/tests"
BATCH = 1000


class OrderPlaced(Event):
    order_id: int
    customer: str = "Alice"
    total: float = 12.5


async def handle(event: OrderPlaced) -> None:
    pass


def bound(subscribers: int) -> Any:
    handlers = {OrderPlaced: [handle] * subscribers}
    event = OrderPlaced(order_id=1)

    async def publish() -> None:
        for one in handlers[OrderPlaced]:
            await one(event)

    return publish


def ours(subscribers: int, types: int = 1) -> Any:
    bus = InMemoryEventBus()
    for number in range(types - 1):
        bus.subscribe(f"Other{number}", handle)
    for _ in range(subscribers):
        bus.subscribe(OrderPlaced, handle)
    event = OrderPlaced(order_id=1)
    return lambda: bus.publish(event)


PUBLISHED_BUS = """
from varco_core.event import Event, InMemoryEventBus

class OrderPlaced(Event):
    order_id: int
    customer: str = "Alice"
    total: float = 12.5

def make():
    bus = InMemoryEventBus()
    async def handle(event): pass
    for _ in range(SUBSCRIBERS):
        bus.subscribe(OrderPlaced, handle)
    event = OrderPlaced(order_id=1)
    return lambda: bus.publish(event)
"""


def of_blinker(subscribers: int) -> Any:
    from blinker import Signal

    signal, event = Signal(), OrderPlaced(order_id=1)
    handlers = []
    for _ in range(subscribers):

        async def receive(sender: OrderPlaced) -> None:
            pass

        handlers.append(receive)  # blinker holds them weakly
        signal.connect(receive)

    async def publish() -> None:
        await signal.send_async(event)

    publish.handlers = handlers  # type: ignore[attr-defined]  # keeps them alive
    return publish


def of_cqrs(subscribers: int) -> Any:
    import cqrs

    class Placed(cqrs.DomainEvent, frozen=True):
        order_id: int

    class Handler(cqrs.EventHandler[Placed]):
        async def handle(self, event: Placed) -> None:
            pass

    class Container:
        async def resolve(self, kind: Any) -> Any:
            return kind()

        def attach_external_container(self, container: Any) -> None: ...

        @property
        def external_container(self) -> Any:
            return None

    mapping = cqrs.EventMap()
    for number in range(subscribers):
        mapping.bind(Placed, type(f"Handler{number}", (Handler,), {}))
    emitter, event = cqrs.EventEmitter(mapping, Container()), Placed(order_id=1)  # type: ignore[arg-type]  # enough of one
    return lambda: emitter.emit(event)


def of_pyventus(subscribers: int) -> Any:
    from pyventus.events import AsyncIOEventEmitter, EventLinker

    class Linker(EventLinker):
        pass

    done = []

    def subscribe() -> None:
        async def receive(event: OrderPlaced) -> None:
            done.append(1)

        Linker.subscribe("placed", event_callback=receive)

    for _ in range(subscribers):
        subscribe()
    emitter, event = AsyncIOEventEmitter(event_linker=Linker), OrderPlaced(order_id=1)

    async def publish() -> None:
        done.clear()
        emitter.emit("placed", event)
        while len(done) < subscribers:  # noqa: ASYNC110  # it has no way to wait
            await asyncio.sleep(0)

    return publish


def bus_cases(subscribers: int) -> list[Case | Published | Figure]:
    group = f"publish to {subscribers:,}"
    peers = [("blinker", of_blinker), ("python-cqrs", of_cqrs), ("pyventus", of_pyventus)]
    return [
        Case(group, "varco", partial(ours, subscribers), ours=True),
        Case(group, "bound: dict of lists", partial(bound, subscribers)),
        Published(group, PUBLISHED_BUS.replace("SUBSCRIBERS", str(subscribers))),
        *(Case(group, name, partial(make, subscribers)) for name, make in peers),
    ]


def serialize() -> Any:
    serializer, event = JsonEventSerializer(), OrderPlaced(order_id=1)
    return lambda: serializer.serialize(event)


def deserialize() -> Any:
    serializer = JsonEventSerializer()
    data = serializer.serialize(OrderPlaced(order_id=1))
    return lambda: serializer.deserialize(data)


def raw_serialize() -> Any:
    event = OrderPlaced(order_id=1)
    return lambda: event.__pydantic_serializer__.to_json(event)


def same_bytes() -> Any:
    event, head = OrderPlaced(order_id=1), b'{"type":"OrderPlaced","version":1,"data":'

    def write() -> bytes:
        data = event.__pydantic_serializer__.to_json(event, by_alias=False, round_trip=True)
        return head + data + b"}"

    assert write() == JsonEventSerializer().serialize(event)
    return write


def dump_json() -> Any:
    event = OrderPlaced(order_id=1)
    return lambda: event.model_dump_json().encode()


def raw_deserialize() -> Any:
    data = OrderPlaced(order_id=1).model_dump_json().encode()
    return lambda: OrderPlaced.model_validate_json(data)


PUBLISHED_SERIALIZER = """
from varco_core.event import Event
from varco_core.event.serializer import JsonEventSerializer

class OrderPlaced(Event):
    order_id: int
    customer: str = "Alice"
    total: float = 12.5

def make():
    serializer, event = JsonEventSerializer(), OrderPlaced(order_id=1)
    data = serializer.serialize(event)
    return lambda: CALL
"""


def _sqlite() -> Any:
    name = "varco_events_bench_sqlite_store"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, TESTS / "sqlite_store.py")
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


def relay(outbox: Any = None, **options: Any) -> Any:
    """Save a batch, start a relay, wait until its last entry is handled, stop it."""
    outbox = InMemoryOutboxRepository() if outbox is None else outbox()
    bus, seen = InMemoryEventBus(), [0]
    done = asyncio.Event()

    async def count(event: OrderPlaced) -> None:
        seen[0] += 1
        if seen[0] == BATCH:
            done.set()

    bus.subscribe(OrderPlaced, count)
    events = [OrderPlaced(order_id=number) for number in range(BATCH)]
    entries = [OutboxEntry.from_event(event) for event in events]

    async def drain() -> None:
        seen[0] = 0
        done.clear()
        await outbox.save_many(entries)
        one = OutboxRelay(outbox=outbox, bus=bus, **options)
        await one.start()
        await done.wait()
        await one.stop()

    return drain


def sqlite_outbox() -> Any:
    store = _sqlite()
    path = Path(tempfile.mkdtemp(prefix="varco-bench-")) / "outbox.sqlite"
    return store.SqliteOutbox(store.create(path))


PUBLISHED_RELAY = """
import asyncio, sqlite3, tempfile
from uuid import UUID
from varco_core.event import Event, InMemoryEventBus
from varco_core.service.outbox import OutboxEntry, OutboxRelay, OutboxRepository

class OrderPlaced(Event):
    order_id: int
    customer: str = "Alice"
    total: float = 12.5

class Memory(OutboxRepository):
    def __init__(self):
        self.rows = {}
    async def save(self, entry):
        self.rows[entry.entry_id] = entry
    async def save_many(self, entries):
        for entry in entries:
            self.rows[entry.entry_id] = entry
    async def get_pending(self, *, limit=100):
        return [row for row, _ in zip(self.rows.values(), range(limit))]
    async def delete(self, entry_id):
        del self.rows[entry_id]

class Sqlite(OutboxRepository):
    def __init__(self):
        self.db = sqlite3.connect(tempfile.mktemp(), isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=OFF")
        self.db.execute("CREATE TABLE outbox (seq INTEGER PRIMARY KEY, id TEXT UNIQUE, type TEXT,"
                        " channel TEXT, payload BLOB)")
    async def save(self, entry):
        await self.save_many([entry])
    async def save_many(self, entries):
        self.db.execute("BEGIN")
        self.db.executemany(
            "INSERT INTO outbox (id, type, channel, payload) VALUES (?, ?, ?, ?)",
            [(str(e.entry_id), e.event_type, e.channel, e.payload) for e in entries])
        self.db.execute("COMMIT")
    async def get_pending(self, *, limit=100):
        rows = self.db.execute(
            "SELECT id, type, channel, payload FROM outbox ORDER BY seq LIMIT ?", [limit])
        return [OutboxEntry(entry_id=UUID(i), event_type=t, channel=c, payload=p)
                for i, t, c, p in rows]
    async def delete(self, entry_id):
        self.db.execute("DELETE FROM outbox WHERE id = ?", [str(entry_id)])

def make():
    bus, outbox, seen = InMemoryEventBus(), REPOSITORY(), [0]
    done = asyncio.Event()
    async def count(event):
        seen[0] += 1
        if seen[0] == BATCH:
            done.set()
    bus.subscribe(OrderPlaced, count)
    events = [OrderPlaced(order_id=number) for number in range(BATCH)]
    entries = [OutboxEntry.from_event(event) for event in events]
    async def drain():
        seen[0] = 0
        done.clear()
        await outbox.save_many(entries)
        one = OutboxRelay(outbox=outbox, bus=bus, poll_interval=0.001)
        await one.start()
        await done.wait()
        while await outbox.get_pending(limit=1):
            await asyncio.sleep(0)
        await one.stop()
    return drain
""".replace("BATCH", str(BATCH))


def default_rate() -> float:
    drain = relay()

    async def run() -> float:
        await drain()
        start = time.perf_counter()
        for _ in range(20):
            await drain()
        return 20 * BATCH / (time.perf_counter() - start)

    return asyncio.run(run())


def latency_p99() -> float:
    """From the commit of one entry, with an idle relay of default settings, to its handler."""
    outbox, bus, waits = InMemoryOutboxRepository(), InMemoryEventBus(), list[float]()
    began = 0.0

    @bus.on(OrderPlaced)
    async def note(event: OrderPlaced) -> None:
        waits.append(time.perf_counter() - began)

    async def run() -> None:
        nonlocal began
        async with OutboxRelay(outbox=outbox, bus=bus):
            for number in range(500):
                await asyncio.sleep(0.001)
                entry = OutboxEntry.from_event(OrderPlaced(order_id=number))
                began = time.perf_counter()
                await outbox.save(entry)

    asyncio.run(run())
    return 1000 * statistics.quantiles(waits, n=100)[98]


def growth() -> float:
    publish = ours(1)

    async def run(times: int) -> None:
        for _ in range(times):
            await publish()

    asyncio.run(run(1000))
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    asyncio.run(run(1_000_000))
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def nested() -> Any:
    bus = InMemoryEventBus()
    events = [OrderPlaced(order_id=number) for number in range(10_001)]

    @bus.on(OrderPlaced)
    async def again(event: OrderPlaced) -> None:
        if event.order_id < 10_000:
            await bus.publish(events[event.order_id + 1])

    return lambda: bus.publish(events[0])


CASES: list[Case | Published | Figure] = [
    *(case for subscribers in (1, 10, 1000) for case in bus_cases(subscribers)),
    Case("1,000 subscribed types", "varco, 1,000 types", partial(ours, 1, 1000), ours=True),
    Case("1,000 subscribed types", "varco, 10 types", partial(ours, 1, 10)),
    Case("serialize", "varco", serialize, ours=True),
    Case("serialize", "bound: pydantic's serializer, no type name", raw_serialize),
    Case("serialize", "the same bytes by hand", same_bytes),
    Case("serialize", "pydantic: model_dump_json", dump_json),
    Published("serialize", PUBLISHED_SERIALIZER.replace("CALL", "serializer.serialize(event)")),
    Case("deserialize", "varco", deserialize, ours=True),
    Case("deserialize", "bound: pydantic, no type name", raw_deserialize),
    Published("deserialize", PUBLISHED_SERIALIZER.replace("CALL", "serializer.deserialize(data)")),
    Case("relay 1,000 from memory", "varco", relay, ours=True),
    Published("relay 1,000 from memory", PUBLISHED_RELAY.replace("REPOSITORY", "Memory")),
    Case("relay 1,000 from SQLite", "varco", partial(relay, sqlite_outbox), ours=True),
    Published("relay 1,000 from SQLite", PUBLISHED_RELAY.replace("REPOSITORY", "Sqlite")),
    Figure("relay with default settings", "varco", "events/s", default_rate, ours=True),
    Figure("idle commit to handler, p99", "varco", "ms", latency_p99, ours=True),
    Figure("growth by a million publishes", "varco", "MB", growth, ours=True),
    Case("a chain of 10,000 nested publishes", "varco", nested, ours=True),
]

if __name__ == "__main__":
    main(CASES)
