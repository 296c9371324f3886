import asyncio
import gc
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import anyio
import anyio.lowlevel
import pytest

from varco_resilience import (
    CallTimeoutError,
    ResilienceConfigError,
    UnsupportedFunctionError,
    timeout,
)

pytestmark = pytest.mark.anyio


@timeout(0.01)
async def hang():
    await anyio.sleep_forever()


@timeout(60.0)
async def echo(value, pauses=0):
    for _ in range(pauses):
        await anyio.lowlevel.checkpoint()
    if isinstance(value, BaseException):
        raise value
    return value


async def test_a_call_in_time():
    assert [await echo(7, pauses) for pauses in range(4)] == [7, 7, 7, 7]


async def test_a_call_that_takes_too_long():
    with pytest.raises(TimeoutError) as caught:
        await hang()
    assert str(caught.value) == "hang did not finish within 0.01 seconds"
    assert isinstance(caught.value, CallTimeoutError)
    assert (caught.value.func_name, caught.value.limit) == ("hang", 0.01)
    await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("pauses", [0, 1, 2])
@pytest.mark.parametrize("error", [TimeoutError("own"), CallTimeoutError("own", 1), KeyError()])
async def test_an_error_from_inside_keeps_its_identity(error, pauses):
    with pytest.raises(type(error)) as caught:
        await echo(error, pauses)
    assert caught.value is error


async def test_a_cancellation_from_outside_passes():
    ended = []

    async def call():
        try:
            await timeout(60.0)(anyio.sleep_forever)()
        except CallTimeoutError:
            ended.append("timeout")
        finally:
            ended.append("end")

    async with anyio.create_task_group() as group:
        group.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert ended == ["end"]


async def test_a_scope_around_it_wins_when_it_is_shorter():
    with anyio.move_on_after(0.01) as scope:
        await timeout(60.0)(anyio.sleep_forever)()
    assert scope.cancelled_caught


async def test_a_scope_inside_of_it_stays_inside():
    @timeout(60.0)
    async def call():
        with anyio.move_on_after(0.01) as scope:
            await anyio.sleep_forever()
        return scope.cancelled_caught

    assert await call() is True


async def test_nested_the_shorter_one_raises():
    inner = timeout(60.0)(hang)
    with pytest.raises(CallTimeoutError) as caught:
        await inner()
    assert caught.value.limit == 0.01
    outer = timeout(0.01)(timeout(60.0)(anyio.sleep_forever))
    with pytest.raises(CallTimeoutError) as caught:
        await outer()
    assert caught.value.limit == 0.01


async def test_the_same_limit_twice_is_one_timeout():
    twice = timeout(0.01)(timeout(0.01)(anyio.sleep_forever))
    for _ in range(5):
        with pytest.raises(CallTimeoutError):
            await twice()
        await anyio.lowlevel.checkpoint()


async def test_cleaning_up_may_take_its_time():
    cleaned = []

    @timeout(0.01)
    async def call():
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.01)
            cleaned.append(True)

    with pytest.raises(CallTimeoutError):
        await call()
    assert cleaned == [True]


async def test_an_error_while_cleaning_up_is_not_hidden():
    @timeout(0.01)
    async def call():
        try:
            await anyio.sleep_forever()
        finally:
            raise KeyError("clean-up")

    with pytest.raises(KeyError):
        await call()
    await anyio.lowlevel.checkpoint()


async def test_many_at_once_each_with_its_own_end():
    results = []

    async def one(number):
        try:
            if number % 2:
                await timeout(0.02)(anyio.sleep_forever)()
            await timeout(60.0)(anyio.sleep)(0.01)
            results.append("done")
        except CallTimeoutError:
            results.append("timeout")

    async with anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(one, number)
    assert (results.count("done"), results.count("timeout")) == (50, 50)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "1", None, True])
def test_a_limit_that_makes_no_sense(seconds):
    with pytest.raises(ResilienceConfigError, match="a finite number > 0"):
        timeout(seconds)


def test_sync_functions_are_refused_at_decoration():
    with pytest.raises(UnsupportedFunctionError) as caught:

        @timeout(1.0)
        def fetch():
            pass

    assert str(caught.value).endswith(
        "fetch: it is a sync function; only an async function can be interrupted; give the "
        "timeout to what it waits for (a socket, a lock, a future), or make it async"
    )
    with pytest.raises(UnsupportedFunctionError, match="an async generator function"):

        @timeout(1.0)
        async def items():
            yield 1


class OnAsyncio:
    """What only asyncio's own cancellation can do."""

    pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])


class TestOnAsyncio(OnAsyncio):
    async def test_the_task_is_not_left_cancelled(self):
        with pytest.raises(CallTimeoutError):
            await hang()
        assert asyncio.current_task().cancelling() == 0
        async with asyncio.timeout(5):
            await asyncio.sleep(0)

    async def test_a_task_that_is_cancelled_as_the_time_is_up(self):
        ended = []

        async def call():
            try:
                await timeout(0.01)(asyncio.Event().wait)()
            except BaseException as error:
                ended.append(type(error))
                raise

        task = asyncio.create_task(call())
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        # Both come in the same round of the loop, in either order.
        loop.call_at(loop.time() + 0.01, task.cancel)
        await asyncio.wait([task])
        assert ended == [asyncio.CancelledError]
        assert task.cancelled()

    async def test_a_cancellation_within_the_first_step_passes(self):
        @timeout(0.001)
        async def call():
            asyncio.current_task().cancel()
            await asyncio.sleep(1)

        task = asyncio.create_task(call())
        await asyncio.wait([task])
        assert task.cancelled()

    async def test_a_function_that_swallows_the_cancellation(self):
        @timeout(0.001)
        async def stubborn():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return "late"

        assert await stubborn() == "late"
        assert asyncio.current_task().cancelling() == 0
        await asyncio.sleep(0)

    async def test_under_asyncio_timeout(self):
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.001):
                await timeout(60.0)(anyio.sleep_forever)()
        assert not isinstance(caught.value, CallTimeoutError)

    async def test_in_eager_tasks(self):
        loop = asyncio.get_running_loop()
        before = loop.get_task_factory()
        loop.set_task_factory(asyncio.eager_task_factory)
        try:
            assert await asyncio.create_task(echo(1)) == 1
            with pytest.raises(CallTimeoutError):
                await asyncio.create_task(hang())
        finally:
            loop.set_task_factory(before)

    async def test_one_timer_serves_all_calls(self):
        limit = timeout(60.0)
        loop = asyncio.get_running_loop()
        before = len(loop._scheduled)
        many = limit(asyncio.sleep)
        await asyncio.gather(*(many(0.001) for _ in range(500)))
        with pytest.raises(KeyError):
            await limit(echo)(KeyError(), 1)
        alive = [timer for timer in loop._scheduled if not timer.cancelled()]
        # Sleeping makes timers as well, but those are gone.
        assert len(alive) <= before + 2
        assert not limit._queues.known[loop].pending

    async def test_the_deadlines_of_one_timer_are_kept_apart(self):
        limit = timeout(0.15)
        ended = {}

        async def call(number):
            await asyncio.sleep(number * 0.01)
            start = time.monotonic()
            try:
                # Some are done long before, so that the timer rings for nobody in between.
                await limit(asyncio.sleep)(0.001 if number % 3 else 60)
            except CallTimeoutError:
                ended[number] = time.monotonic() - start

        await asyncio.gather(*(call(number) for number in range(10)))
        assert ended.keys() == {0, 3, 6, 9}
        assert all(0.149 < seconds < 5 for seconds in ended.values())
        queue = limit._queues.known[asyncio.get_running_loop()]
        assert not queue.pending
        assert queue.timer is None

    async def test_awaiting_a_future(self):
        class Client:
            def __call__(self):
                future = asyncio.get_running_loop().create_future()
                asyncio.get_running_loop().call_soon(future.set_result, 5)
                return future

        import inspect

        fetch = inspect.markcoroutinefunction(Client().__call__.__func__)
        assert await timeout(5.0)(fetch)(None) == 5


def test_a_loop_that_ends_closes_the_call():
    ended = []

    @timeout(60.0)
    async def call():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    loop = asyncio.new_event_loop()
    coroutine = call()
    task = loop.create_task(coroutine)
    loop.call_soon(loop.stop)
    loop.run_forever()
    coroutine.close()
    assert ended == [True]
    task._log_destroy_pending = False
    loop.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        del task, coroutine
        gc.collect()


def test_it_serves_one_event_loop_after_the_other():
    limit = timeout(0.001)
    for _ in range(5):
        with pytest.raises(CallTimeoutError):
            asyncio.run(limit(asyncio.sleep)(60))
    assert len(limit._queues.known) == 1, "queues of closed loops are dropped"


def test_it_serves_event_loops_side_by_side():
    @timeout(0.1)
    async def call(number):
        await anyio.sleep(60 if number % 2 else 0)
        return number

    async def many():
        results = []
        for number in range(10):
            try:
                results.append(await call(number))
            except CallTimeoutError:
                results.append("late")
        return results

    with ThreadPoolExecutor(4) as pool:
        loops = [pool.submit(anyio.run, many, backend=b) for b in ["asyncio", "trio"] * 2]
        for done in loops:
            assert done.result(30) == [0, "late", 2, "late", 4, "late", 6, "late", 8, "late"]
