"""What a relay tells of itself."""

from datetime import timedelta

import anyio
import pytest

from varco_events import (
    Event,
    InMemoryEventBus,
    InMemoryOutboxRepository,
    OutboxEntry,
    OutboxRelay,
    RelayStatus,
)
from varco_events._relay_status import RelayRecord
from varco_resilience import RetryPolicy

pytestmark = pytest.mark.anyio


class Wanted(Event):
    number: int


class Refusing(InMemoryEventBus):
    """Takes even numbers."""

    async def send(self, envelopes, report):
        for envelope in envelopes:
            number = envelope.event.number if envelope.event else int(envelope.payload[-3:-2])
            report(envelope, ValueError("it is odd") if number % 2 else None)


@pytest.fixture
def outbox(clock):
    return InMemoryOutboxRepository(clock=clock)


@pytest.fixture
def relay(outbox, clock):
    policy = RetryPolicy(max_attempts=3, base_delay=1.0, jitter=False)
    return OutboxRelay(outbox=outbox, bus=Refusing(), clock=clock, retry_policy=policy)


async def save(outbox, clock, *numbers):
    for number in numbers:
        entry = OutboxEntry.from_event(Wanted(number=number))
        entry.__dict__["created_at"] = clock()
        await outbox.save(entry)


async def test_a_relay_tells_what_it_did_last(relay, outbox, clock):
    assert relay.status == RelayStatus(is_running=False)
    await relay.run_once()
    assert relay.status == RelayStatus(is_running=False, looked_at=clock())
    await save(outbox, clock, 0, 1, 2)
    clock.seconds += 30
    assert await relay.run_once() == 3
    batch_at = clock()
    status = relay.status
    assert (status.batch, status.delivered, status.failed, status.total) == (3, 2, 1, 2)
    assert status.lag == pytest.approx(30, abs=1)
    assert (status.error, status.error_at) == ("ValueError: it is odd", batch_at)
    assert status.rate > 0
    clock.seconds += 0.5
    await relay.run_once()  # finds nothing that is due
    assert relay.status.batch_at == batch_at
    assert relay.status.looked_at == batch_at + timedelta(seconds=0.5)
    assert relay.status.batch == 3


async def test_what_waits_behind_a_failure_is_no_failure(outbox, clock):
    async def fail(event):
        raise ValueError("always")

    bus = InMemoryEventBus()
    bus.subscribe(Wanted, fail)
    relay = OutboxRelay(outbox=outbox, bus=bus, clock=clock)
    for number in range(3):
        await outbox.save(OutboxEntry.from_event(Wanted(number=number), key="one"))
    assert await relay.run_once() == 3
    assert (relay.status.batch, relay.status.failed) == (3, 1)


async def test_an_outbox_that_fails_is_told(relay, outbox, clock, monkeypatch):
    async def claim(*, limit, lease):
        raise OSError("the database is away")

    monkeypatch.setattr(outbox, "claim", claim)
    with pytest.raises(OSError, match="away"):
        await relay.run_once()
    assert relay.status.error == "OSError: the database is away"
    assert relay.status.looked_at is None


async def test_it_is_told_whether_it_runs(relay, outbox, clock):
    await save(outbox, clock, 0)
    async with relay:
        with anyio.fail_after(30):
            while not relay.status.total:
                await anyio.sleep(0.001)
        assert relay.status.is_running
    assert not relay.status.is_running


def test_the_rate_is_that_of_the_last_minute(clock):
    record = RelayRecord(clock, clock.monotonic)
    clock.seconds = 10
    record.ended(100, 0)
    assert record.status(is_running=True).rate == 10
    for _ in range(500):  # more than are kept, but not more than are counted
        clock.seconds += 0.1
        record.ended(6, 0)
    assert record.status(is_running=True).rate == pytest.approx(3100 / 60)
    clock.seconds += 45
    assert record.status(is_running=True).rate == pytest.approx(900 / 60, rel=0.1)
    clock.seconds += 60
    assert record.status(is_running=True).rate == 0
    assert record.status(is_running=True).total == 3100
