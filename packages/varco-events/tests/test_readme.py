"""The README runs as written, and so do the examples that this API is named after."""

import ast
import asyncio
import inspect
import re
import sys
import types
from pathlib import Path

import varco_events

README = Path(__file__).parents[1] / "README.md"

REFERENCE = """
dlq = InMemoryDeadLetterQueue(max_size=10_000)

class OrderPlacedEvent(Event):
    order_id: int

class OrderConsumer(EventConsumer):
    def __init__(self, bus, fulfillment):
        self._bus = bus
        self._fulfillment = fulfillment
        self._setup()

    def _setup(self) -> None:
        self.register_to(self._bus)

    @listen(
        OrderPlacedEvent,
        channel="orders",
        retry_policy=RetryPolicy(max_attempts=3, base_delay=0.001),
        dlq=dlq,
    )
    async def on_order(self, event: OrderPlacedEvent) -> None:
        await self._fulfillment.process(event)

class Fulfillment:
    async def process(self, event):
        raise ConnectionError("down")

bus = InMemoryEventBus()
consumer = OrderConsumer(bus, Fulfillment())
outbox_repo = InMemoryOutboxRepository()
await outbox_repo.save(OutboxEntry.from_event(
    OrderPlacedEvent(order_id=1), channel="orders"
))
relay = OutboxRelay(outbox=outbox_repo, bus=bus, poll_interval=1.0)
await relay.start()
while not await dlq.count():
    await asyncio.sleep(0.001)
await relay.stop()

entries: list[DeadLetterEntry] = await dlq.pop_batch(limit=50)
for entry in entries:
    print(entry.handler_name, entry.error_type, entry.attempts)
    await dlq.ack(entry.entry_id)
assert len(entries) == 1 and not await dlq.count() and not await outbox_repo.get_pending()

s = JsonSerializer()
data: bytes = s.serialize({"key": "value"})
back: dict = s.deserialize(data)
model = s.deserialize(data, type_hint=MyPydanticModel)
noop = NoOpSerializer()
assert noop.serialize(b"raw") is b"raw"
""".replace("is b", "== b")


def run(source, **names):
    module = types.ModuleType("varco_events_readme")
    sys.modules[module.__name__] = module
    vars(module).update(names)

    async def main():
        code = compile(source, str(README), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, vars(module))
        if inspect.isawaitable(result):
            await result

    asyncio.run(main())


def test_the_readme_runs():
    text = README.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 10
    run("\n".join(blocks))


def test_the_examples_of_the_reference_run():
    from pydantic import BaseModel

    from varco_resilience import RetryPolicy

    class MyPydanticModel(BaseModel):
        key: str

    names = {name: getattr(varco_events, name) for name in varco_events.__all__}
    run(
        REFERENCE,
        **names,
        asyncio=asyncio,
        RetryPolicy=RetryPolicy,
        MyPydanticModel=MyPydanticModel,
    )
