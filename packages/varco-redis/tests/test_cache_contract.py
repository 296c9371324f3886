"""The contract of caches, on the real server."""

import pytest

from varco_cache import GuardedCache, InMemoryCache, LayeredCache
from varco_cache.testing import CacheContract
from varco_redis.cache import RedisCache, RedisCacheSettings, TrackedRedisCache

pytestmark = pytest.mark.anyio


class Real(CacheContract):
    short = 0.3

    def make(self, settings, **options):
        raise NotImplementedError

    @pytest.fixture
    def options(self):
        return {}

    @pytest.fixture
    async def cache(self, url, prefix, options, anyio_backend):
        # None of these tests is about time: a machine with much else to do takes its time.
        settings = RedisCacheSettings(url=url, key_prefix=prefix, timeout=30.0)
        async with self.make(settings, **options) as cache:
            yield cache


class TestRedis(Real):
    def make(self, settings):
        return RedisCache(settings)


class TestTracked(Real):
    def make(self, settings):
        return TrackedRedisCache(settings)


class TestGuarded(Real):
    def make(self, settings):
        return GuardedCache(RedisCache(settings), timeout=30.0)


class TestLayered(Real):
    @pytest.fixture(params=["write-through", "write-around", "write-back"])
    def options(self, request):
        return {"write_mode": request.param}

    def make(self, settings, **options):
        return LayeredCache(InMemoryCache(), RedisCache(settings), timeout=30.0, **options)
