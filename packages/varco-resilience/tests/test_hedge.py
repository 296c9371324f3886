import anyio
import anyio.lowlevel
import pytest

from varco_resilience import HedgeConfig, ResilienceConfigError, UnsupportedFunctionError, hedge

pytestmark = pytest.mark.anyio


class Callee:
    """Each call does what the script says for its number."""

    def __init__(self, *script):
        self.script = script
        self.started = 0
        self.cancelled = []

    async def __call__(self):
        number = self.started
        self.started += 1
        act = self.script[number]
        try:
            if act == "hang":
                await anyio.sleep_forever()
            await anyio.lowlevel.checkpoint()
            if isinstance(act, Exception):
                raise act
            return act
        except anyio.get_cancelled_exc_class():
            self.cancelled.append(number)
            raise


async def test_a_quick_call_has_no_rival():
    callee = Callee("first")
    assert await hedge(HedgeConfig(60.0))(callee)() == "first"
    assert callee.started == 1


async def test_the_first_success_wins_and_the_losers_are_cancelled():
    callee = Callee("hang", "hang", "third")
    assert await hedge(HedgeConfig(0.001, max_hedges=2))(callee)() == "third"
    assert (callee.started, sorted(callee.cancelled)) == (3, [0, 1])


async def test_a_failure_does_not_win():
    callee = Callee("hang", KeyError(), "third")
    assert await hedge(HedgeConfig(0.001, max_hedges=2))(callee)() == "third"
    assert callee.cancelled == [0]


async def test_after_a_failure_the_next_call_does_not_wait():
    callee = Callee(KeyError(), "second")
    assert await hedge(HedgeConfig(60.0))(callee)() == "second"


async def test_when_all_fail_the_first_error_is_raised():
    errors = [KeyError("a"), ValueError("b")]
    with pytest.raises(KeyError) as caught:
        await hedge(HedgeConfig(60.0))(Callee(*errors))()
    assert caught.value is errors[0]


async def test_a_failure_while_the_last_call_runs():
    callee = Callee(KeyError(), "hang")
    async with anyio.create_task_group() as group:
        group.start_soon(hedge(HedgeConfig(0.0))(callee))
        await anyio.wait_all_tasks_blocked()
        assert callee.started == 2
        group.cancel_scope.cancel()
    assert callee.cancelled == [1]


async def test_a_call_that_cancels_itself_ends_it():
    async def call():
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anyio.lowlevel.checkpoint()
        return "went on"

    assert await hedge(HedgeConfig(60.0))(call)() == "went on"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_awaiting_what_was_cancelled_does_not_hang():
    import asyncio

    async def call():
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    with pytest.raises(asyncio.CancelledError):
        await hedge(HedgeConfig(60.0))(call)()


async def test_an_error_of_a_loser_is_not_seen():
    async def call():
        calls.append(None)
        if len(calls) == 1:
            try:
                await anyio.sleep_forever()
            finally:
                raise KeyError("while being cancelled")
        return "second"

    calls = []
    assert await hedge(HedgeConfig(0.001))(call)() == "second"


def test_sync_functions_are_refused():
    with pytest.raises(UnsupportedFunctionError, match="side by side"):
        hedge(HedgeConfig(1.0))(int.bit_length)


@pytest.mark.parametrize(
    ("field", "values"), [("delay", (-1,)), ("max_hedges", (1, 0)), ("max_hedges", (1, 1.5))]
)
def test_a_configuration_that_makes_no_sense(field, values):
    with pytest.raises(ResilienceConfigError) as caught:
        HedgeConfig(*values)
    assert caught.value.field == field
