"""The in-memory bus beyond its contract: modes, policies, routing, nesting, stopping."""

import gc
import tracemalloc
from functools import partial

import anyio
import pytest

from varco_events import (
    BusStoppedError,
    ChannelConfig,
    DispatchMode,
    ErrorPolicy,
    Event,
    EventMiddleware,
    HandlersFailedError,
    InMemoryEventBus,
    LifecycleError,
    NoopEventBus,
    NoSuchHandlerError,
    RawEvent,
    UnknownEventTypeError,
    current_channel,
    in_thread,
)

pytestmark = pytest.mark.anyio


class Counted(Event):
    number: int = 0


class SubCounted(Counted):
    pass


@pytest.fixture
def bus():
    return InMemoryEventBus()


async def test_priority_decides_then_the_order_of_subscription(bus):
    got = []
    for name, priority in [("a", 0), ("b", 5), ("c", 0), ("d", -1), ("e", 5)]:
        bus.subscribe(Counted, lambda _, name=name: got.append(name), priority=priority)
    bus.subscribe("Counted", lambda _: got.append("named"), priority=1, channel="default")
    await bus.publish(Counted())
    assert got == ["b", "e", "named", "a", "c", "d"]


async def test_on_subscribes_a_function_to_several_types(bus):
    got = []

    @bus.on(Counted, "Other", channel="c", filter=lambda event: event.event_type_name() != "X")
    async def handle(event):
        got.append(event)

    class Other(Event):
        pass

    await bus.publish_many([(Counted(), "c"), (Other(), "c"), (Counted(), "d")])
    assert len(got) == 2
    assert handle.__name__ == "handle"


async def test_any_callable_can_handle(bus):
    got = []

    class Callable:
        def __call__(self, event):
            got.append(1)

    class AsyncCallable:
        async def __call__(self, event):
            got.append(2)

    async def named(place, event):
        got.append(place)

    for handler in (Callable(), AsyncCallable(), partial(named, 3), lambda event: named(4, event)):
        bus.subscribe(Counted, handler)
    await bus.publish(Counted())
    assert got == [1, 2, 3, 4]


async def test_collect_all_calls_everybody_and_raises_what_failed(bus):
    got = []

    def fail(event):
        raise ValueError("first")

    def fail_too(event):
        raise KeyError("second")

    bus.subscribe(Counted, fail)
    bus.subscribe(Counted, got.append)
    with pytest.raises(ValueError, match="first"):
        await bus.publish(Counted())
    assert len(got) == 1
    bus.subscribe(Counted, fail_too)
    with pytest.raises(HandlersFailedError) as caught:
        await bus.publish(Counted())
    assert [type(error) for error in caught.value.exceptions] == [ValueError, KeyError]
    assert caught.value.code == "events.handlers_failed"
    assert isinstance(caught.value.split(ValueError)[0], HandlersFailedError)


async def test_fail_fast_stops_at_the_first(bus):
    bus = InMemoryEventBus(error_policy=ErrorPolicy.FAIL_FAST)
    got = []
    bus.subscribe(Counted, lambda event: 1 / 0)
    bus.subscribe(Counted, got.append)
    with pytest.raises(ZeroDivisionError):
        await bus.publish(Counted())
    assert got == []


async def test_fire_forget_logs(caplog):
    bus = InMemoryEventBus(error_policy="fire_forget")
    got = []
    bus.subscribe(Counted, lambda event: 1 / 0)
    bus.subscribe(Counted, got.append)
    await bus.publish(Counted())
    assert len(got) == 1
    assert "ZeroDivisionError" in caplog.text
    with pytest.raises(ZeroDivisionError):  # what stored the event must know
        await bus.deliver(Counted())


async def test_a_failing_filter_is_a_failing_handler(bus):
    bus.subscribe(Counted, print, filter=lambda event: event.missing)
    with pytest.raises(AttributeError):
        await bus.publish(Counted())


async def test_ten_thousand_nested_publishes_do_not_overflow(bus):
    got = []

    async def again(event):
        got.append(event.number)
        if event.number < 10_000:
            await bus.publish(Counted(number=event.number + 1))
        got.append(-event.number)

    bus.subscribe(Counted, again)
    await bus.publish(Counted(number=1))
    # Each publish returned after its handlers, however deep it was.
    assert got == [*range(1, 10_001), *range(-10_000, 0)]


async def test_an_error_comes_up_from_the_depth(bus):
    async def again(event):
        if event.number == 1000:
            raise ValueError("deep")
        await bus.publish(Counted(number=event.number + 1))

    bus.subscribe(Counted, again)
    with pytest.raises(ValueError, match="deep"):
        await bus.publish(Counted())


async def test_cancellation_goes_down_into_the_depth(bus):
    reached, left = anyio.Event(), []

    async def again(event):
        try:
            if event.number == 300:
                reached.set()
                await anyio.sleep_forever()
            await bus.publish(Counted(number=event.number + 1))
        finally:
            left.append(event.number)

    bus.subscribe(Counted, again)
    async with anyio.create_task_group() as group:
        group.start_soon(bus.publish, Counted())
        await reached.wait()
        group.cancel_scope.cancel()
    assert left == list(range(300, -1, -1))


async def test_subscribing_and_cancelling_while_publishing(bus):
    got = []

    async def first(event):
        got.append("first")
        subscription.cancel()
        bus.subscribe(Counted, lambda _: got.append("late"))

    async def second(event):
        got.append("second")

    bus.subscribe(Counted, first)
    subscription = bus.subscribe(Counted, second)
    await bus.publish(Counted())
    assert got == ["first", "second"]
    got.clear()
    await bus.publish(Counted())
    assert got == ["first", "late"]
    subscription.cancel()


async def test_plans_are_bounded_by_what_is_subscribed(bus):
    bus.subscribe(Counted, lambda event: None, channel="named")
    for number in range(1000):
        await bus.publish(Counted(), channel=f"tenant {number}")
        await bus.publish(RawEvent(raw_type=f"type {number}", payload=b"{}"))
    await bus.publish(Counted(), channel="named")
    assert len(bus._dispatcher.routes.plans) == 1
    assert set(bus._dispatcher.routes.plans[Counted].channels) == {"named"}


async def test_middleware_wraps_each_delivery_in_order():
    calls = []

    class Note(EventMiddleware):
        def __init__(self, name):
            self.name = name

        async def __call__(self, event, channel, next):  # noqa: A002  # the name of the base
            calls.append(f"{self.name} {channel}")
            await next(event, channel)
            calls.append(f"end {self.name}")

    bus = InMemoryEventBus(middleware=[Note("a"), Note("b")])
    bus.subscribe(Counted, lambda event: calls.append("handler"))
    await bus.publish(Counted(), channel="c")
    once = ["a c", "b c", "handler", "end b", "end a"]
    assert calls == once
    bus.subscribe(Counted, lambda event: calls.append("handler"))
    await bus.deliver(Counted(), channel="c")
    assert calls == once * 3


async def test_background_returns_before_the_handlers_and_can_be_awaited():
    async with InMemoryEventBus(dispatch_mode=DispatchMode.BACKGROUND) as bus:
        go_on, got = anyio.Event(), []

        async def slow(event):
            await go_on.wait()
            got.append(event)

        bus.subscribe(Counted, slow)
        handled = await bus.publish(Counted())
        assert got == []
        go_on.set()
        await handled
        assert len(got) == 1
        assert await bus.publish(SubCounted(), channel="x") is not None
        await bus.drain()
        assert len(got) == 2


async def test_background_errors_are_logged_and_raised_to_who_awaits(caplog):
    async with InMemoryEventBus(dispatch_mode=DispatchMode.BACKGROUND) as bus:
        bus.subscribe(Counted, lambda event: 1 / 0)
        handled = await bus.publish(Counted())
        with pytest.raises(ZeroDivisionError):
            await handled
        await bus.publish(Counted())
        await bus.drain()
    assert caplog.text.count("ZeroDivisionError") == 2


async def test_background_on_trio_needs_an_owner(anyio_backend_name):
    bus = InMemoryEventBus(dispatch_mode=DispatchMode.BACKGROUND)
    got = []
    bus.subscribe(Counted, got.append)
    if anyio_backend_name == "trio":
        with pytest.raises(LifecycleError, match="async with"):
            await bus.publish(Counted())
    else:
        await bus.publish(Counted())
        await bus.stop()
        assert len(got) == 1


async def test_stop_drains_what_handlers_publish_and_refuses_the_rest():
    async with InMemoryEventBus(dispatch_mode=DispatchMode.BACKGROUND) as bus:
        got, began = [], anyio.Event()

        async def chain(event):
            began.set()
            await anyio.sleep(0)
            got.append(event.number)
            if event.number < 20:
                await bus.publish(Counted(number=event.number + 1))

        bus.subscribe(Counted, chain)
        await bus.publish(Counted())
        await began.wait()
        assert await bus.stop() == ()
        assert got == list(range(21))
        with pytest.raises(BusStoppedError, match="Counted"):
            await bus.publish(Counted())
        with pytest.raises(BusStoppedError):
            await bus.deliver(Counted())
        await bus.start()
        await bus.publish(Counted(number=20))
    assert got[-1] == 20


async def test_stop_says_what_it_dropped():
    async with InMemoryEventBus(dispatch_mode=DispatchMode.BACKGROUND) as bus:
        outcome = []

        async def endless(event):
            try:
                await anyio.sleep_forever()
            except BaseException:
                outcome.append("cancelled")
                raise
            outcome.append("handled")

        bus.subscribe(Counted, endless, filter=lambda event: event.number > 0)
        events = [Counted(number=number) for number in range(3)]
        for event in events:
            await bus.publish(event)
        assert await bus.stop(timeout=0.01) == events[1:]
        assert outcome == ["cancelled", "cancelled"]


async def test_a_handler_cannot_stop_its_own_bus(bus):
    bus.subscribe(Counted, lambda event: bus.stop())
    with pytest.raises(LifecycleError):
        await bus.publish(Counted())
    await bus.start()
    bus.subscribe(SubCounted, print)


async def test_deliver_repeats_only_what_failed(bus):
    got, fail = [], True

    def flaky(event):
        if fail:
            raise ValueError("not yet")
        got.append("flaky")

    bus.subscribe(Counted, lambda event: got.append("sound"))
    bus.subscribe(Counted, flaky)
    event = Counted()
    for _ in range(3):
        with pytest.raises(ValueError, match="not yet"):
            await bus.deliver(event)
    fail = False
    await bus.deliver(event)
    assert got == ["sound", "flaky"]
    await bus.deliver(event)
    assert got == ["sound", "flaky", "sound", "flaky"]


async def test_deliver_many_takes_one_after_the_other_and_ends_at_the_first_failure(bus):
    got, taken, fail = [], [], True

    def flaky(event):
        if fail and event.number == 2:
            raise ValueError("not yet")
        got.append(("flaky", event.number, current_channel()))

    bus.subscribe(Counted, lambda event: got.append(("first", event.number, current_channel())))
    bus.subscribe(Counted, flaky)
    bus.subscribe(Counted, lambda event: got.append(("last", event.number, current_channel())))
    pairs = [(Counted(number=number), "ab"[number % 2]) for number in range(1, 5)]

    def one_by_one(pairs):
        for event, channel in pairs:
            yield event, channel
            taken.append((event.number, len(got)))

    with pytest.raises(ValueError, match="not yet"):
        await bus.deliver_many(one_by_one(pairs))
    assert taken == [(1, 3)]
    assert [(name, number) for name, number, _ in got[3:]] == [("first", 2), ("last", 2)]
    assert current_channel() == "default"

    fail = False
    await bus.deliver_many(pairs[1:])
    assert got[5:8] == [("flaky", 2, "a"), ("first", 3, "b"), ("flaky", 3, "b")]
    assert [number for _, number, _ in got[5:]] == [2, 3, 3, 3, 4, 4, 4]
    with anyio.fail_after(30):
        await bus.drain()  # nothing is taken for being in flight


async def test_deliver_many_that_is_cancelled_repeats_only_what_was_not_called(bus):
    got, begun = [], anyio.Event()

    async def second(event):
        if event.number == 1 and not begun.is_set():
            begun.set()
            await anyio.sleep_forever()
        got.append("second")

    bus.subscribe(Counted, lambda event: got.append("first"))
    bus.subscribe(Counted, second)
    pairs = [(Counted(number=number), "c") for number in range(3)]
    async with anyio.create_task_group() as group:
        group.start_soon(bus.deliver_many, pairs)
        await begun.wait()
        group.cancel_scope.cancel()
    await bus.deliver_many(pairs[1:])
    assert got == ["first", "second"] * 3


async def test_deliver_many_sees_what_changes_between_two_events(bus):
    got = []

    def first(event):
        got.append(event.number)
        if event.number == 2:
            subscription.cancel()
            bus.subscribe(Counted, lambda event: got.append(-event.number))

    subscription = bus.subscribe(Counted, first)
    await bus.deliver_many([(Counted(number=number), "c") for number in range(1, 4)])
    assert got == [1, 2, -3]


async def test_a_bus_that_stops_ends_deliver_many_between_two_events(bus):
    got, go_on, begun = [], anyio.Event(), anyio.Event()

    async def slow(event):
        begun.set()
        await go_on.wait()
        got.append(event.number)

    bus.subscribe(Counted, slow)

    async def deliver():
        with pytest.raises(BusStoppedError):
            await bus.deliver_many([(Counted(number=1), "c"), (Counted(number=2), "c")])

    async with anyio.create_task_group() as group:
        group.start_soon(deliver)
        await begun.wait()
        group.start_soon(bus.stop)
        await anyio.wait_all_tasks_blocked()
        go_on.set()
    assert got == [1]


async def test_deliver_to_one_handler(bus):
    got = []

    def one(event):
        got.append("one")

    def other(event):
        got.append("other")

    bus.subscribe(Counted, one)
    subscription = bus.subscribe(Counted, other)
    await bus.deliver(Counted(), handler=subscription.name)
    assert got == ["other"]
    for namesake in (one.__qualname__, "missing"):
        with pytest.raises(NoSuchHandlerError, match=namesake):
            await bus.deliver(Counted(), handler=namesake)
    assert got == ["other"]


async def test_deliver_gives_no_unknown_type_to_nobody(bus):
    raw, got = RawEvent(raw_type="elsewhere", payload=b"{}"), []
    bus.subscribe(Event, got.append)
    with pytest.raises(UnknownEventTypeError, match="elsewhere"):
        await bus.deliver(raw, channel="c")
    assert got == []
    bus.subscribe("elsewhere", lambda event: None, channel="c")
    await bus.deliver(raw, channel="c")
    assert got == [raw]


async def test_handlers_know_the_channel(bus):
    got = []
    bus.subscribe(Counted, lambda event: got.append(current_channel()))
    await bus.publish(Counted(), channel="a")
    await bus.deliver(Counted(), channel="b")
    assert got == ["a", "b"]
    assert current_channel() == "default"


async def test_sync_handlers_can_run_off_the_loop(bus):
    import threading

    threads = []

    @in_thread
    def blocking(event: Event) -> None:
        threads.append(threading.current_thread())

    bus.subscribe(Counted, blocking)
    await bus.publish(Counted())
    assert threads
    assert threads[0] is not threading.current_thread()


async def test_channels_can_be_declared(bus):
    await bus.declare_channel("b", ChannelConfig(num_partitions=3))
    await bus.declare_channel("a")
    assert await bus.channel_exists("a")
    assert await bus.list_channels() == ["a", "b"]
    await bus.delete_channel("a")
    await bus.delete_channel("a")
    assert not await bus.channel_exists("a")


async def test_the_noop_bus_calls_nobody():
    async with NoopEventBus() as bus:
        subscription = bus.subscribe(Counted, lambda event: 1 / 0)
        assert await bus.publish(Counted()) is None
        await bus.deliver(Counted())
        subscription.cancel()
        assert subscription.is_cancelled
        assert "Counted" in repr(subscription)


async def test_publishing_keeps_no_memory(bus):
    """5,000 here; the benchmark does a million."""

    async def handle(event):
        pass

    bus.subscribe(Counted, handle)
    await bus.publish(Counted())
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(5_000):
            await bus.publish(Counted(), channel="c")
        gc.collect()
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 100_000


async def test_a_raw_event_of_a_known_class_is_refused_with_what_is_true(bus):
    bus.subscribe(Counted, lambda event: None)
    raw = RawEvent(raw_type=Counted.event_type_name(), raw_version=9, payload=b"{}")
    with pytest.raises(
        UnknownEventTypeError, match="has a class here, whose listeners take no"
    ) as e:
        await bus.deliver(raw)
    assert e.value.is_raw
    bus.subscribe(RawEvent, lambda event: None)
    await bus.deliver(raw)
