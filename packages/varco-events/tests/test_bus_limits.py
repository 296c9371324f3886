"""The bus at its edges: wrong arguments, depth, many channels, what is cut off."""

import anyio
import pytest

from varco_events import (
    BusUnavailableError,
    DeliveryCutOffError,
    DispatchMode,
    Event,
    EventConsumer,
    HandlersFailedError,
    InMemoryEventBus,
    NoopEventBus,
    listen,
)

pytestmark = pytest.mark.anyio


class Turned(Event):
    number: int = 0


def quiet(event):
    pass


async def asking(event):
    return True


@pytest.mark.parametrize("bus", [InMemoryEventBus(), NoopEventBus()])
@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((int, quiet), {}, "subclass of Event"),
        (("", quiet), {}, "subclass of Event"),
        ((Turned(), quiet), {}, "subclass of Event"),
        ((Turned, None), {}, "handler must be"),
        ((Turned, quiet), {"channel": lambda self: "x"}, "channel must be"),
        ((Turned, quiet), {"filter": asking}, "sync function"),
        ((Turned, quiet), {"filter": "number > 1"}, "sync function"),
    ],
)
async def test_a_subscription_that_could_never_work_is_refused(bus, arguments, options, message):
    with pytest.raises(TypeError, match=message):
        bus.subscribe(*arguments, **options)


async def test_listen_wants_event_types():
    with pytest.raises(TypeError, match="event classes and type names"):
        listen(int)


@pytest.mark.parametrize("wrong", [Turned, "Turned", None])
@pytest.mark.parametrize("how", ["publish", "deliver"])
async def test_what_is_no_event_is_not_published(wrong, how):
    with pytest.raises(TypeError, match="instances of Event"):
        await getattr(InMemoryEventBus(), how)(wrong)


async def test_awaiting_what_was_cut_off_is_no_acknowledgement():
    async with InMemoryEventBus(dispatch_mode=DispatchMode.BACKGROUND) as bus:
        bus.subscribe(Turned, lambda event: anyio.sleep_forever())
        event = Turned()
        handled = await bus.publish(event)
        assert await bus.stop(timeout=0.001) == [event]
        with pytest.raises(DeliveryCutOffError, match=str(event.event_id)) as caught:
            await handled
        assert isinstance(caught.value, BusUnavailableError)


async def test_a_handler_may_use_a_bus_of_its_own():
    bus, got = InMemoryEventBus(), []

    async def handle(event):
        async with InMemoryEventBus() as inner:
            inner.subscribe(Turned, got.append)
            await inner.publish(event)

    bus.subscribe(Turned, handle)
    await bus.publish(Turned())
    assert len(got) == 1


async def test_ten_thousand_nested_deliveries_do_not_overflow():
    bus, got = InMemoryEventBus(), []

    class Consumer(EventConsumer):
        @listen(Turned)
        async def again(self, event):
            if event.number < 10_000:
                await bus.deliver(Turned(number=event.number + 1))
            got.append(event.number)

    Consumer().register_to(bus)
    await bus.deliver(Turned(number=1))
    assert got == list(range(10_000, 0, -1))


async def test_a_handlers_unavailable_bus_is_not_this_one():
    bus = InMemoryEventBus()

    def fail(event):
        raise BusUnavailableError("another one")

    bus.subscribe(Turned, fail)
    with pytest.raises(HandlersFailedError, match="1 handler of Turned") as caught:
        await bus.deliver(Turned())
    assert isinstance(caught.value.exceptions[0], BusUnavailableError)
    with pytest.raises(BusUnavailableError):
        await bus.publish(Turned())


async def test_many_channels_of_one_type_are_routed_one_by_one():
    bus, got = InMemoryEventBus(), []
    for number in range(50):
        bus.subscribe(Turned, lambda _, n=number: got.append(n), channel=f"tenant {number}")
    bus.subscribe(Turned, lambda _: got.append("all"), priority=1)
    await bus.publish(Turned(), channel="tenant 7")
    await bus.publish(Turned(), channel="tenant 8")
    await bus.publish(Turned(), channel="elsewhere")
    assert got == ["all", 7, "all", 8, "all"]
    assert len(bus._dispatcher.routes.plans[Turned].channels) == 2


async def test_classes_that_are_made_in_a_loop_are_forgotten(monkeypatch):
    monkeypatch.setattr("varco_events._routing._MAX_PLANS", 10)
    bus = InMemoryEventBus()
    for _ in range(25):
        await bus.publish(type(Event)("Made", (Event,), {"__qualname__": "f.<locals>.Made"})())
    assert len(bus._dispatcher.routes.plans) <= 10
