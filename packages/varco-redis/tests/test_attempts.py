"""An attempt is counted before it begins; what became of an event is told from outcomes alone."""

import asyncio
import json
import multiprocessing
import runpy
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from redis_waiting import has, until

from varco_events import (
    BusUnavailableError,
    DeadLetterEntry,
    Event,
    EventConsumer,
    EventEnvelope,
    InboxPoller,
    InMemoryInboxRepository,
    JsonEventSerializer,
    RawEvent,
    RetryMiddleware,
    in_thread,
    listen,
    upcaster,
)
from varco_redis import (
    RedisChannelManager,
    RedisDeadLetterQueue,
    RedisDeadLetterQueueSettings,
    RedisEventBus,
    RedisEventBusSettings,
    RedisSettings,
)
from varco_redis._acks import Acks
from varco_redis._bus_settings import Names
from varco_redis._link import Link

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

FILE = Path(__file__).with_name("_processes.py")
FORKS = multiprocessing.get_context("forkserver")
# What test_crash preloads too: whichever comes first starts the server.
FORKS.set_forkserver_preload(["pytest", "varco_redis.cache"])


class Job(Event):
    __event_type__ = "varco.redis.test.job"
    number: int
    name: str = ""

    def event_key(self):
        return self.name or None


class Grown(Event):
    __event_type__ = "varco.redis.test.grown"
    __event_version__ = 3
    cents: int


@upcaster(Grown, from_version=2)
def _lift(fields):
    return {"cents": fields["euros"] * 100}


@pytest.fixture
def settings(url, prefix):
    def make(**options):
        values = {"url": url, "key_prefix": prefix, "retry_delay": 0.01, "lease": 30.0}
        return RedisEventBusSettings(**(values | options))

    return make


async def letters_of(options):
    queue = RedisDeadLetterQueueSettings(url=options.url, key_prefix=options.key_prefix)
    async with RedisDeadLetterQueue(queue) as letters:
        return await letters.peek(limit=1000)


async def differs(asking, before):
    return await asking != before


async def backlog(options, channel="c"):
    async with RedisChannelManager(options) as manager:
        return await manager.backlog(channel, options.group)


# Processes that die of what they handle.


async def run_until_it_lives(most, client, options, *, pause=0.0, **more):
    """How many processes died before one came to the end; others need not wait for their leases."""
    values = {"url": options.url, "key_prefix": options.key_prefix, "lease": options.lease} | more
    arguments = {"arguments": ("die", None, values, pause)}
    names = Names(options)
    for died in range(most + 1):
        process = FORKS.Process(target=runpy.run_path, args=(str(FILE), arguments, "__main__"))
        process.start()
        await asyncio.to_thread(process.join)
        if process.exitcode == 0:
            return died
        assert process.exitcode == 9
        await client.delete(names.consumers, *names.of_group("c"))
    raise AssertionError(f"{most} processes died, and there is no end")


def deadly(numbers, among=1, names=""):
    """Events of a class that this process does not have."""
    return [
        EventEnvelope.around(
            json.dumps(
                {
                    "type": "varco.redis.test.deadly",
                    "version": 1,
                    "data": {"number": n, "deadly": n in numbers},
                }
            ).encode(),
            channel="c",
            key=names[n % len(names)] if names else None,
        )
        for n in range(among)
    ]


@pytest.mark.parametrize("attempts", [1, 3])
async def test_what_kills_its_process_is_dead_lettered_after_max_attempts(
    settings, client, attempts
):
    options = settings(lease=60.0)
    async with RedisEventBus(options) as bus:
        await bus.send(deadly({0}), lambda *_: None)
    assert await run_until_it_lives(10, client, options, max_attempts=attempts) == attempts
    (letter,) = await letters_of(options)
    assert (letter.attempts, letter.error_type, letter.group) == (
        attempts,
        "RedisPoisonError",
        "default",
    )
    assert await client.llen(f"{options.key_prefix}begun") == attempts


@pytest.mark.parametrize("names", ["", "abc"], ids=["no keys", "three keys"])
@pytest.mark.parametrize(("attempts", "pause"), [(1, 0.0), (2, 0.02)])
async def test_what_is_handled_beside_it_is_not_held_to_be_deadly(
    settings, client, names, attempts, pause
):
    options = settings(lease=60.0, partitions=2)
    async with RedisEventBus(options) as bus:
        await bus.send(deadly({4, 11}, 20, names), lambda *_: None)
    await run_until_it_lives(12, client, options, max_attempts=attempts, pause=pause)
    found = [json.loads(one.envelope.payload) for one in await letters_of(options)]
    assert sorted(one["data"]["number"] for one in found) == [4, 11]
    done = {int(one) for one in await client.lrange(f"{options.key_prefix}done", 0, -1)}
    assert done == set(range(20)) - {4, 11}
    begun = [int(one) for one in await client.lrange(f"{options.key_prefix}begun", 0, -1)]
    assert all(1 <= begun.count(number) <= attempts for number in (4, 11))


async def test_what_is_done_is_acknowledged_before_what_may_be_deadly_begins(make_server):
    server = make_server()
    link = Link(RedisSettings(url=server.url, timeout=60.0))
    acks = Acks(link, "g")
    await acks.flush()
    await link.call("PING")
    server.freeze()
    acks.add("stream", "1-1")
    first = asyncio.create_task(acks.flush())
    await asyncio.sleep(0.05)
    second = asyncio.create_task(acks.flush())  # of who is about to begin what may be deadly
    await asyncio.sleep(0.05)
    assert not second.done()
    server.thaw()
    await asyncio.gather(first, second)
    await link.close()


async def test_what_was_lived_through_is_acknowledged_before_anything_else_begins(settings, client):
    options = settings(max_attempts=2, partitions=1, lease=60.0)
    stream = f"{options.key_prefix}{{c}}:0"
    began, done = [], asyncio.Event()

    async def handle(event):
        began.append(event.number)
        if event.number == 1:
            await acks.acquire()  # so that nothing can be acknowledged
            await bus.publish(Job(number=2), channel="c")
            done.set()

    dead = RedisEventBus(options)
    await dead.publish(Job(number=1), channel="c")
    await client.xgroup_create(stream, options.group, "0")
    ((_, ((number, _),)),) = await client.xreadgroup(options.group, "dead", {stream: ">"})
    await client.xclaim(stream, options.group, "dead", 0, [number], retrycount=2, justid=True)
    bus = RedisEventBus(options)
    bus.subscribe(Job, handle, channel="c")
    async with dead, bus:
        acks = bus._member._acks._flushing
        await done.wait()
        await asyncio.sleep(0.1)
        before = list(began)
        acks.release()
        await until(lambda: began == [1, 2])
    assert before == [1]
    assert await letters_of(options) == []


async def test_a_restart_neither_forgets_nor_adds_an_attempt(settings):
    options = settings(max_attempts=3, partitions=1, retry_delay=60, max_retry_delay=60)
    tried = []

    def fail(event):
        tried.append(event.number)
        raise ValueError("always")

    publisher = RedisEventBus(options)
    await publisher.publish(Job(number=1), channel="c")
    await publisher.stop()
    for run in range(1, 6):
        bus = RedisEventBus(options)
        bus.subscribe(Job, fail, channel="c")
        async with bus:  # a clean stop during the pause, as when something is deployed
            await until(lambda run=run: len(tried) >= min(run, 3))
            if run >= 3:
                await until(lambda bus=bus: has(bus.dead_letters.count(), 1))
    assert len(tried) == 3
    (letter,) = await letters_of(options)
    assert (letter.attempts, letter.error_message) == (3, "always")


async def test_what_was_cut_off_or_not_begun_has_no_attempt(settings, client):
    options = settings(max_attempts=1, partitions=1, concurrency=2, lease=30.0)
    began, got = [], []

    async def slow(event):
        began.append(event.number)
        await asyncio.Event().wait()

    first = RedisEventBus(options)
    first.subscribe(Job, slow, channel="c")
    await first.publish_many([(Job(number=n), "c") for n in range(10)])
    await first.start()
    await until(lambda: len(began) == 2)
    await first.stop(timeout=0)
    stream = f"{options.key_prefix}{{c}}:0"
    pending = await client.xpending_range(stream, "default", "-", "+", 20)
    assert {one["times_delivered"] for one in pending} == {1}
    second = RedisEventBus(options)
    second.subscribe(Job, lambda event: got.append(event.number), channel="c")
    async with second:
        await until(lambda: len(got) == 10)
    assert await letters_of(options) == []


async def test_an_attempt_is_in_redis_while_the_handler_runs(settings, client):
    options = settings(partitions=1, concurrency=3)
    seen, stream = {}, f"{options.key_prefix}{{c}}:0"

    async def look(event):
        pending = await client.xpending_range(stream, "default", "-", "+", 50)
        times = {one["message_id"]: one["times_delivered"] for one in pending}
        for number, fields in await client.xrange(stream):
            if fields[b"varco-id"].decode() == str(event.event_id):
                seen[event.number] = times[number]

    bus = RedisEventBus(options)
    bus.subscribe(Job, look, channel="c")
    await bus.publish_many([(Job(number=n, name="abc"[n % 3] * (n % 2)), "c") for n in range(12)])
    async with bus:
        await until(lambda: len(seen) == 12)
    assert set(seen.values()) == {2}  # taken, and begun once


# What is an attempt, and what is a failure.


@pytest.mark.parametrize("kind", ["handler", "filter", "middleware"])
async def test_a_rejection_is_no_attempt_and_no_failure(settings, kind):
    options = settings(max_attempts=2, max_retry_delay=0.02)
    got, refused = [], 0

    def reject(event):
        nonlocal refused
        if refused < 20:
            refused += 1
            raise BusUnavailableError("downstream is down")
        return True

    class Rejecting(RetryMiddleware):
        async def __call__(self, event, channel, next):  # noqa: A002 # the reference's name
            reject(event)
            await next(event, channel)

    async def handle(event):
        if kind == "handler":
            reject(event)
        got.append(event.number)

    bus = RedisEventBus(options, middleware=[Rejecting()] if kind == "middleware" else [])
    bus.subscribe(Job, handle, channel="c", filter=reject if kind == "filter" else None)
    async with bus:
        await bus.publish(Job(number=1), channel="c")
        await until(lambda: got == [1])
        await until(lambda: has(backlog(options), 0))
    assert refused == 20
    assert await letters_of(options) == []


async def test_a_success_after_a_retry_in_a_middleware_is_one(settings):
    calls, done = [], []

    async def flaky(event):
        calls.append(event.number)
        if len(calls) % 2:
            raise ConnectionError("the first of two tries")
        done.append(event.number)

    bus = RedisEventBus(
        settings(max_attempts=1), middleware=[RetryMiddleware(max_attempts=2, base_delay=0.001)]
    )
    bus.subscribe(Job, flaky, channel="c")
    async with bus:
        await bus.publish(Job(number=1), channel="c")
        await until(lambda: has(backlog(bus.settings), 0))
    assert (len(calls), done) == (2, [1])
    assert await letters_of(bus.settings) == []


@pytest.mark.parametrize("where", ["filter", "middleware"])
async def test_a_filter_and_a_middleware_can_fail(settings, where):
    def broken(event):
        raise ZeroDivisionError(where)

    class Broken(RetryMiddleware):
        async def __call__(self, event, channel, next):  # noqa: A002 # the reference's name
            broken(event)

    bus = RedisEventBus(
        settings(max_attempts=2), middleware=[Broken()] if where == "middleware" else []
    )
    bus.subscribe(Job, print, channel="c", filter=broken if where == "filter" else None)
    async with bus:
        await bus.publish(Job(number=1), channel="c")
        await until(lambda: has(bus.dead_letters.count(), 1))
        await until(lambda: has(backlog(bus.settings), 0))
    (letter,) = await letters_of(bus.settings)
    assert (letter.error_type, letter.error_message, letter.attempts) == (
        "ZeroDivisionError",
        where,
        2,
    )


UNREADABLE = {
    "a newer version": b'{"type":"varco.redis.test.grown","version":4,"data":{"cents":1,"x":2}}',
    "an upcaster that fails": b'{"type":"varco.redis.test.grown","version":2,"data":{"euro":1}}',
    "changed fields": b'{"type":"varco.redis.test.grown","version":3,"data":{"amount":1}}',
}


@pytest.mark.parametrize("payload", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("wanted", [Grown, Event, "varco.redis.test.grown"])
async def test_what_cannot_be_read_is_dead_lettered_with_its_bytes(settings, payload, wanted):
    got = []
    bus = RedisEventBus(settings(max_attempts=2, partitions=1))
    bus.subscribe(wanted, got.append, channel="c")
    errors = []
    async with bus:
        envelope = EventEnvelope.around(payload, channel="c", key="k")
        await bus.send([envelope], lambda _, error: errors.append(error))
        await bus.publish(Job(number=2, name="k"), channel="c")
        await until(lambda: has(bus.dead_letters.count(), 1))
        await until(lambda: has(backlog(bus.settings), 0))
        (letter,) = await bus.dead_letters.peek()
        assert letter.envelope == envelope
        assert isinstance(letter.event, RawEvent)
        assert (letter.event.payload, letter.attempts) == (payload, 2)
        # It is driven again, and comes back the same: a redrive ends.
        assert await bus.dead_letters.redrive(bus) == 1
        await until(lambda: has(bus.dead_letters.count(), 1))
        (letter,) = await bus.dead_letters.peek()
        assert letter.envelope.payload == payload
    assert errors == [None]
    assert all(isinstance(event, Job) for event in got)


@pytest.mark.parametrize("text", ["bad \0 input", "r\udce9sum\udce9.pdf", "x" * 3_000_000])
async def test_any_text_can_be_an_error(settings, text, caplog):
    def fail(event):
        raise ValueError(text)

    bus = RedisEventBus(settings(max_attempts=1))
    bus.subscribe(Job, fail, channel="c")
    async with bus:
        await bus.publish(Job(number=1), channel="c")
        await until(lambda: has(bus.dead_letters.count(), 1))
        (letter,) = await bus.dead_letters.peek()
    assert letter.error_message[0] == text[0]
    assert len(letter.error_message) < 10_000
    letter.error_message.encode()
    assert len(caplog.text) < 20_000


async def test_no_payload_is_in_a_log(settings, caplog):
    caplog.set_level("DEBUG")
    bus = RedisEventBus(settings(max_attempts=2, partitions=1))
    bus.subscribe(Grown, print, channel="c")
    bus.subscribe(Job, lambda event: 1 / 0, channel="c")
    secret = "hunter2-secret"
    async with bus:
        for payload in (
            b'{"type":"varco.redis.test.grown","version":3,"data":{"amount":"hunter2-secret"}}',
            b'{"type":"varco.redis.test.grown","version":3,"data":{"cents":"hunter2-secret"}}',
            b'hunter2-secret {"type":',
        ):
            envelope = EventEnvelope.around(payload, channel="c")
            await bus.send([envelope], lambda *_: None)
        await bus.publish(Job(number=1, name=secret), channel="c")
        await until(lambda: has(bus.dead_letters.count(), 4))
    assert secret not in caplog.text


# Groups, handlers, and what is driven again.


async def test_a_redrive_reaches_the_group_and_the_handler_that_failed(settings):
    down, seen = True, []

    def handlers(group):
        async def mail(event):
            if down and group == "mailers":
                raise ConnectionError("smtp")
            seen.append((group, "mail"))

        async def note(event):
            seen.append((group, "note"))

        # The other group has namesakes of both.
        mail.__module__ = note.__module__ = "app"
        mail.__qualname__, note.__qualname__ = "Mailer.mail", "Mailer.note"
        return mail, note

    buses = {
        group: RedisEventBus(settings(group=group, max_attempts=2))
        for group in ("mailers", "audit")
    }
    for group, bus in buses.items():
        for handler in handlers(group):
            bus.subscribe(Job, handler, channel="c")
    mailers, audit = buses.values()
    async with mailers, audit:
        await mailers.publish(Job(number=1), channel="c")
        await until(lambda: has(mailers.dead_letters.count(), 1))
        await until(lambda: len(seen) == 3)
        (letter,) = await mailers.dead_letters.peek()
        assert (letter.handler_name, letter.group) == ("app.Mailer.mail", "mailers")
        down = False
        assert await audit.dead_letters.redrive(audit) == 1  # whoever does it
        await until(lambda: len(seen) == 4)
        for bus in buses.values():
            await until(lambda bus=bus: has(backlog(bus.settings), 0))
        assert await mailers.dead_letters.redrive(mailers) == 0
    assert sorted(seen) == [
        ("audit", "mail"),
        ("audit", "note"),
        ("mailers", "mail"),
        ("mailers", "note"),
    ]
    assert await letters_of(mailers.settings) == []


async def test_a_dead_letter_for_each_group_and_handler_however_often_the_event_came(settings):
    def namesake():
        async def handle(event):
            raise ValueError("no")

        return handle

    buses = [RedisEventBus(settings(group=group, max_attempts=1)) for group in ("a", "b")]
    for bus in buses:
        bus.subscribe(Job, namesake(), channel="c")
    sent = EventEnvelope.of(Job(number=1), channel="c")
    async with buses[0], buses[1]:
        for _ in range(3):  # as a relay does that is killed before it has written down what it sent
            await buses[0].send([sent], lambda *_: None)
        for bus in buses:
            await until(lambda bus=bus: has(backlog(bus.settings), 0))
    assert sorted(one.group for one in await letters_of(buses[0].settings)) == ["a", "b"]


async def test_the_envelope_comes_whole_and_the_key_of_the_outbox_orders(settings):
    got = []
    bus = RedisEventBus(settings(max_attempts=1))

    async def handle(event):
        await asyncio.sleep(0.02 * (event.number % 2))
        got.append(event.number)
        if event.number == 11:
            raise ValueError

    bus.subscribe(Job, handle, channel="c")
    payloads = [
        JsonEventSerializer().serialize(Job(number=n))[:-2] + b',"coupon":"SAVE10"}}'
        for n in range(12)
    ]
    envelopes = [
        EventEnvelope.around(payload, channel="c", key="account 1").replace(
            headers={"tenant": "acme", "x-own": "Grüße", "correlation-id": "42"}
        )
        for payload in payloads
    ]
    async with bus:
        await bus.send(envelopes, lambda *_: None)
        await until(lambda: has(bus.dead_letters.count(), 1))
        (letter,) = await bus.dead_letters.peek()
    assert got == list(range(12))
    assert letter.envelope == envelopes[-1]
    assert letter.envelope.payload == payloads[-1]


# Leases.


async def test_a_thread_that_outlives_the_lease_keeps_it(settings, client):
    began, now, most = [], [0], [0]
    lock = threading.Lock()
    release = threading.Event()

    def work(event):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
            began.append(event.number)
        release.wait(30)
        with lock:
            now[0] -= 1

    # Its end is moved four times in a lease, of which a busy machine may miss some.
    buses = [RedisEventBus(settings(partitions=1, lease=4.0)) for _ in range(2)]
    owners = Names(buses[0].settings).owners("c")
    for bus in buses:
        bus.subscribe(Job, in_thread(work), channel="c")
    async with buses[0], buses[1]:
        await buses[0].publish(Job(number=1), channel="c")
        await until(lambda: began)
        first = await client.hget(owners, "0")
        await until(lambda: differs(client.hget(owners, "0"), first))
        release.set()
        await until(lambda: has(backlog(buses[0].settings), 0))
    assert (began, most) == ([1], [1])


async def test_handlers_are_cut_off_when_the_lease_cannot_be_renewed(make_server):
    server = make_server()
    options = RedisEventBusSettings(
        url=server.url, lease=1.0, timeout=0.3, retry_delay=0.01, max_attempts=1
    )
    began, cut, got = [], asyncio.Event(), []

    async def handle(event):
        began.append(event.number)
        if len(began) == 1:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cut.set()
                raise
        got.append(event.number)

    bus = RedisEventBus(options)
    bus.subscribe(Job, handle, channel="c")
    async with bus:
        await bus.publish(Job(number=1), channel="c")
        await until(lambda: began)
        server.freeze()
        await asyncio.wait_for(cut.wait(), 30)
        server.thaw()
        # Nobody died of it, so its only attempt is not used up.
        await until(lambda: got == [1])
        assert await bus.dead_letters.count() == 0


async def test_what_outlives_every_lease_ends_as_a_dead_letter(settings):
    began = []

    async def handle(event):
        began.append(event.number)
        time.sleep(0.25)  # nobody can renew the lease meanwhile
        await asyncio.Event().wait()

    bus = RedisEventBus(settings(max_attempts=1, partitions=1, lease=0.2))
    bus.subscribe(Job, handle, channel="c")
    async with bus:
        await bus.publish(Job(number=1), channel="c")
        await until(lambda: has(bus.dead_letters.count(), 1))
        (letter,) = await bus.dead_letters.peek()
    assert letter.error_type == "RedisPoisonError"
    assert began == [1, 1, 1, 1]


async def test_a_poller_sends_what_its_handler_then_marks(settings):
    """A process was killed while it handled the event, which was acknowledged by hand since."""
    inbox, got, begun = InMemoryInboxRepository(), [], asyncio.Event()

    class Killed(EventConsumer):
        @listen(Job, channel="c", inbox=inbox)
        async def on_job(self, event):
            begun.set()
            if not got:
                got.append("cut off")
                await asyncio.Event().wait()
            got.append(event.number)

    bus = RedisEventBus(settings(group="workers"))
    Killed().register_to(bus)
    await bus.publish(Job(number=1), channel="c")
    await bus.start()
    await begun.wait()
    await bus.stop(timeout=0)
    async with RedisChannelManager(bus.settings) as manager:
        await manager.delete_channel("c")
    (waiting,) = await inbox.get_unprocessed()
    assert waiting.handler_name.endswith("Killed.on_job")
    poller = InboxPoller(inbox=inbox, bus=bus, redeliver_after=0.05)
    async with bus:
        await until(lambda: inbox.now() > waiting.received_at + timedelta(seconds=0.1))
        assert await poller.run_once() == 1
        await until(lambda: got == ["cut off", 1])
        await until(lambda: has(inbox.get_unprocessed(), []))


@pytest.mark.parametrize("days", [-1, 1])
async def test_leases_go_by_the_clock_of_redis(settings, monkeypatch, days):
    """A second process, whose host's clock is a day off, takes nothing that is in hand."""
    options = settings(partitions=1, lease=5.0, group="g")
    began, go_on, real = [], asyncio.Event(), time.time

    async def handle(event):
        began.append(event.number)
        await go_on.wait()

    first, second = RedisEventBus(options), RedisEventBus(options)
    for bus in (first, second):
        bus.subscribe(Job, handle, channel="c")
    letters = RedisDeadLetterQueueSettings(url=options.url, key_prefix=options.key_prefix)
    async with RedisDeadLetterQueue(letters) as one, RedisDeadLetterQueue(letters) as other:
        await one.push(DeadLetterEntry(event=Job(number=0)))
        assert len(await one.pop_batch(lease=60)) == 1
        async with first:
            await first.publish(Job(number=1), channel="c")
            await until(lambda: began == [1])
            monkeypatch.setattr(time, "time", lambda: real() + days * 86_400)
            async with second:
                await asyncio.sleep(0.1)
                assert await other.pop_batch() == []
                assert await other.count() == 1
                await second.publish(Job(number=2), channel="c")
                await until(lambda: began == [1, 2])
                go_on.set()
                await until(lambda: has(backlog(options), 0))
        assert began == [1, 2]
