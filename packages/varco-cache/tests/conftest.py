"""Fixtures of the cache tests: both event loops, virtual time."""

import pytest

from varco_cache.testing import ManualClock


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


@pytest.fixture
def clock():
    return ManualClock()
