import pytest

from varco_cache import GuardedCache, InMemoryCache, LayeredCache
from varco_cache.testing import CacheContract, Fault, FaultyCache

pytestmark = pytest.mark.anyio


class Virtual(CacheContract):
    @pytest.fixture(autouse=True)
    def _with_clock(self, clock):
        self.clock = clock

    async def advance(self, seconds):
        self.clock.advance(seconds)

    def make(self):
        raise NotImplementedError

    @pytest.fixture
    async def cache(self, _with_clock):
        async with self.make() as cache:
            yield cache


class TestMemory(Virtual):
    @pytest.fixture(params=["s3-fifo", "lru", "fifo"], autouse=True)
    def _eviction(self, request):
        self.eviction = request.param

    def make(self):
        return InMemoryCache(max_size=1000, eviction=self.eviction, clock=self.clock)


class TestLayered(Virtual):
    @pytest.fixture(params=["write-through", "write-around", "write-back"], autouse=True)
    def _mode(self, request):
        self.mode = request.param

    def make(self):
        caches = [InMemoryCache(clock=self.clock) for _ in range(2)]
        return LayeredCache(*caches, write_mode=self.mode, clock=self.clock)


class TestLayeredOverALine(TestLayered):
    def make(self):
        near, far = InMemoryCache(clock=self.clock), InMemoryCache(clock=self.clock)
        line = FaultyCache(far, lambda name: Fault.NONE)
        return LayeredCache(near, line, write_mode=self.mode, clock=self.clock)


class TestGuarded(Virtual):
    def make(self):
        line = FaultyCache(InMemoryCache(clock=self.clock), lambda name: Fault.NONE)
        return GuardedCache(line, clock=self.clock)
