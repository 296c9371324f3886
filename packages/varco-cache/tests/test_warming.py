import pytest

from varco_cache import CompositeWarmer, InMemoryCache, QueryCacheWarmer, SnapshotCacheWarmer

pytestmark = pytest.mark.anyio


async def test_warmers_fill_at_start_and_one_that_fails_stops_no_other(caplog):
    async def pairs():
        return [("a", 1), ("b", 2)]

    async def snapshot():
        return {"c": 3}

    async def broken():
        raise ConnectionError("database")

    cache = InMemoryCache()
    cache.add_warmer(
        CompositeWarmer(
            QueryCacheWarmer(pairs, ttl=9),
            SnapshotCacheWarmer(broken),
            SnapshotCacheWarmer(snapshot),
        )
    )
    async with cache:
        assert await cache.get_many("abc") == {"a": 1, "b": 2, "c": 3}
        assert await cache.ttl("a") <= 9
    assert "SnapshotCacheWarmer" in caplog.text
