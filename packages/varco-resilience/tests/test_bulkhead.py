import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from varco_resilience import (
    Bulkhead,
    BulkheadConfig,
    BulkheadFullError,
    ResilienceConfigError,
    bulkhead,
)


class Meter:
    """How many calls run at once, and how many did at most."""

    def __init__(self):
        self.lock = threading.Lock()
        self.now = 0
        self.most = 0

    def __enter__(self):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *_):
        with self.lock:
            self.now -= 1


@pytest.mark.anyio
async def test_a_full_bulkhead_refuses():
    room = Bulkhead(BulkheadConfig(2), name="db")
    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(room.call, anyio.sleep_forever)
        await anyio.wait_all_tasks_blocked()
        assert room.available_slots == 0
        with pytest.raises(BulkheadFullError) as caught:
            await room.call(anyio.lowlevel.checkpoint)
        with pytest.raises(BulkheadFullError):
            room.call_sync(int)
        group.cancel_scope.cancel()
    assert (caught.value.bulkhead_name, caught.value.max_concurrent) == ("db", 2)
    assert str(caught.value) == "bulkhead 'db' had none of its 2 slots free within 0 seconds"
    assert room.available_slots == 2


@pytest.mark.anyio
async def test_those_who_wait_are_served_in_order():
    room = Bulkhead(BulkheadConfig(1, max_wait=60.0))
    served = []

    async def call(number):
        async def body():
            served.append(number)
            await anyio.lowlevel.checkpoint()

        await room.protect(body)()

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(call, number)
            await anyio.lowlevel.checkpoint()
    assert sorted(served) == list(range(20))
    assert served[5:] == sorted(served[5:])
    assert room.available_slots == 1


def test_who_gives_up_waiting_is_told():
    room = Bulkhead(BulkheadConfig(1, max_wait=0.01))
    with pytest.raises(BulkheadFullError, match=r"within 0\.01 seconds"):
        room.call_sync(room.call_sync, int)
    assert room.available_slots == 1


@pytest.mark.parametrize("size", [1, 3])
def test_threads_share_the_slots(size):
    room = Bulkhead(BulkheadConfig(size, max_wait=30.0))
    meter = Meter()

    @room.protect
    def body():
        with meter:
            pass

    with ThreadPoolExecutor(20) as pool:
        for done in [pool.submit(body) for _ in range(500)]:
            done.result(30)
    assert meter.most <= size
    assert room.available_slots == size


@pytest.mark.anyio
async def test_tasks_and_threads_share_the_slots():
    room = Bulkhead(BulkheadConfig(2, max_wait=30.0))
    meter = Meter()

    @room.protect
    async def in_task():
        with meter:
            await anyio.lowlevel.checkpoint()

    @room.protect
    def in_thread():
        with meter:
            pass

    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(in_task)
            group.start_soon(anyio.to_thread.run_sync, in_thread)
    assert meter.most <= 2
    assert room.available_slots == 2


def test_event_loops_share_the_slots():
    room = Bulkhead(BulkheadConfig(1, max_wait=30.0))
    meter = Meter()

    @room.protect
    async def body():
        with meter:
            await anyio.sleep(0)

    async def many():
        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(body)

    loops = ["asyncio", "trio", "asyncio", "trio"]
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(anyio.run, many, backend=name) for name in loops]:
            done.result(30)
    assert meter.most == 1
    assert room.available_slots == 1


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_slot_for_a_loop_that_has_ended_goes_to_the_next(backend):
    room = Bulkhead(BulkheadConfig(1, max_wait=30.0))
    wakes = []

    async def borrow_a_wakeup():
        from varco_resilience._wakeup import wakeup

        wakes.append(wakeup()[1])

    anyio.run(borrow_a_wakeup, backend=backend)
    assert room._slots.admit((), {})
    assert room._slots._queue(wakes[0]) is not None
    room._slots.leave(None)
    assert room.available_slots == 1


def test_a_waiting_call_whose_loop_ends_gives_its_slot_back():
    room = Bulkhead(BulkheadConfig(1, max_wait=30.0))
    loop = asyncio.new_event_loop()
    assert room._slots.admit((), {})
    waiting = room.call(asyncio.sleep, 0)

    async def step():
        # Started on the loop, and then never resumed.
        asyncio.current_task()
        waiting.send(None)

    loop.run_until_complete(step())
    room._slots.leave(None)
    assert room.available_slots == 0
    waiting.close()
    assert room.available_slots == 1
    loop.close()


def test_each_function_gets_its_own():
    own = bulkhead(BulkheadConfig(1))

    @own
    def outer():
        return inner()

    @own
    def inner():
        return "both ran"

    @bulkhead(BulkheadConfig(1), name="named")
    def again():
        again()

    assert outer() == "both ran"
    with pytest.raises(BulkheadFullError, match="'named'"):
        again()


@pytest.mark.parametrize(
    ("field", "values"),
    [("max_concurrent", (0,)), ("max_concurrent", (1.0,)), ("max_wait", (1, -1.0))],
)
def test_a_configuration_that_makes_no_sense(field, values):
    with pytest.raises(ResilienceConfigError) as caught:
        BulkheadConfig(*values)
    assert caught.value.field == field
