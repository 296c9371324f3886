import pytest

from varco_cache import GuardedCache, InMemoryCache, LayeredCache
from varco_cache.testing import CacheContract, Fault, FaultyCache

pytestmark = pytest.mark.anyio


class Virtual(CacheContract):
    # `made` is a fixture of each class. It gets all it needs as arguments: an async fixture need
    # not run on the instance of the test.
    @pytest.fixture
    async def cache(self, made):
        async with made:
            yield made

    @pytest.fixture(autouse=True)
    def _with_clock(self, clock):
        self.clock = clock

    async def advance(self, seconds):
        self.clock.advance(seconds)


class TestMemory(Virtual):
    @pytest.fixture(params=["s3-fifo", "lru", "fifo"])
    def made(self, request, clock):
        return InMemoryCache(max_size=1000, eviction=request.param, clock=clock)


@pytest.fixture(params=["write-through", "write-around", "write-back"])
def mode(request):
    return request.param


class TestLayered(Virtual):
    @pytest.fixture
    def made(self, mode, clock):
        caches = [InMemoryCache(clock=clock) for _ in range(2)]
        return LayeredCache(*caches, write_mode=mode, clock=clock)


class TestLayeredOverALine(Virtual):
    @pytest.fixture
    def made(self, mode, clock):
        near, far = InMemoryCache(clock=clock), InMemoryCache(clock=clock)
        line = FaultyCache(far, lambda name: Fault.NONE)
        return LayeredCache(near, line, write_mode=mode, clock=clock)


class TestGuarded(Virtual):
    @pytest.fixture
    def made(self, clock):
        line = FaultyCache(InMemoryCache(clock=clock), lambda name: Fault.NONE)
        return GuardedCache(line, clock=clock)
