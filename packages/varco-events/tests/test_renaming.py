"""Parameters under names that they no longer have."""

import inspect
import warnings

import pytest

from varco_events import (
    DeadLetterEntry,
    Event,
    InMemoryDeadLetterQueue,
    InMemoryEventBus,
    takes_former_names,
)

pytestmark = pytest.mark.anyio


class Renamed(Event):
    __event_type__ = "varco.test.renamed"


def test_a_former_name_works_and_warns_once():
    @takes_former_names(seconds="lease")
    def take(*, lease=1.0):
        return lease

    assert take(lease=2.0) == 2.0
    with pytest.warns(DeprecationWarning, match=r"'seconds' of .*take\(\) is called 'lease' now"):
        assert take(seconds=3.0) == 3.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert take(seconds=4.0) == 4.0
    with pytest.raises(TypeError, match=r"take\(\) takes 'lease', not 'seconds'"):
        take(seconds=1.0, lease=2.0)
    assert list(inspect.signature(take).parameters) == ["lease"]


async def test_dead_letters_are_leased_under_the_former_name():
    queue = InMemoryDeadLetterQueue()
    await queue.push(DeadLetterEntry(event=Renamed()))
    assert inspect.iscoroutinefunction(queue.pop_batch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it may have warned before
        assert len(await queue.pop_batch(visibility_timeout=60)) == 1
        assert await queue.redrive(InMemoryEventBus(), visibility_timeout=60) == 0


@pytest.mark.parametrize("name", ["visibility_timeout", "lease"])
async def test_a_queue_of_ones_own_may_have_either_name(name):
    taken = []

    class Former(InMemoryDeadLetterQueue):
        async def pop_batch(self, *, limit=10, visibility_timeout=30.0):
            taken.append(visibility_timeout)
            return await super().pop_batch(limit=limit, lease=visibility_timeout)

    class Present(InMemoryDeadLetterQueue):
        async def pop_batch(self, *, limit=10, lease=30.0):
            taken.append(lease)
            return await super().pop_batch(limit=limit, lease=lease)

    queue = Former() if name == "visibility_timeout" else Present()
    await queue.push(DeadLetterEntry(event=Renamed()))
    assert await queue.redrive(InMemoryEventBus(), lease=7.0) == 1
    assert taken == [7.0]
