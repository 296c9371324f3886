"""What is opened is closed by who awaited it, or at the end of the block that entered it."""

import pytest

from varco_domain.backend import Opening

pytestmark = pytest.mark.anyio


class Door:
    is_open = True

    async def aclose(self):
        self.is_open = False


class Open(Opening[Door]):
    def __init__(self, *, stuck=False):
        self.stuck = stuck

    async def open(self):
        if self.stuck:
            raise OSError("stuck")
        return Door()


async def test_entered_it_closes_at_the_end_and_awaited_it_stays_open():
    async with Open() as door:
        assert door.is_open
    assert not door.is_open
    with pytest.raises(ZeroDivisionError):
        async with Open() as door:
            raise ZeroDivisionError
    assert not door.is_open
    assert (await Open()).is_open


async def test_what_does_not_open_is_not_closed():
    with pytest.raises(OSError, match="stuck"):
        await Open(stuck=True)
    with pytest.raises(OSError, match="stuck"):
        async with Open(stuck=True):
            pass
