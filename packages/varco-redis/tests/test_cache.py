"""What a cache in Redis does beyond the contract: damage, generations, restarts, copies."""

import asyncio
import math
import struct
from datetime import timedelta
from decimal import Decimal

import pytest
from redis_waiting import until

from varco_cache import MISSING, CacheConfigError, CacheKeyError
from varco_redis import RedisConfigError, RedisUnavailableError
from varco_redis.cache import RedisCache, RedisCacheSettings, TrackedRedisCache

pytestmark = pytest.mark.anyio


@pytest.fixture
async def cache(url, prefix, anyio_backend):
    async with RedisCache(RedisCacheSettings(url=url, key_prefix=prefix)) as cache:
        yield cache


@pytest.mark.parametrize(
    "ttl", [timedelta(seconds=1), Decimal(1), "1", True, 0, -1, math.nan, -math.inf], ids=repr
)
async def test_a_ttl_that_is_no_number_of_seconds_is_refused_by_name(cache, ttl):
    for call in (
        lambda: cache.set("a", 1, ttl=ttl),
        lambda: cache.set_many({"a": 1}, ttl=ttl),
        lambda: cache.get_or_set("a", lambda: _value(1), ttl=ttl),
    ):
        with pytest.raises(CacheConfigError, match=r"^ttl="):
            await call()
    assert await cache.get("a", MISSING) is MISSING


@pytest.mark.parametrize("name", ["default_ttl", "lease", "load_wait", "timeout"])
@pytest.mark.parametrize(
    "span", [timedelta(1), Decimal(1), "1", [1], True, 0, -1, math.nan, -math.inf, 10**400],
    ids=lambda span: repr(span)[:20],
)  # fmt: skip
def test_settings_that_are_no_number_of_seconds_are_refused_by_name(name, span):
    with pytest.raises(RedisConfigError, match=rf"^{name}=.*above zero"):
        RedisCacheSettings(**{name: span})


def test_only_a_ttl_may_be_endless():
    assert RedisCacheSettings(default_ttl=math.inf).default_ttl == math.inf
    with pytest.raises(RedisConfigError, match=r"^lease=inf"):
        RedisCacheSettings(lease=math.inf)


async def test_what_was_not_written_by_a_cache_is_a_miss_that_is_logged(
    cache, prefix, client, caplog
):
    place = f"{prefix}k:a"
    await cache.set("a", {"n": 123456}, ttl=600, tags={"t"})
    whole = await client.get(place)
    damaged = [b"", b"x", b"vrc1", b"\x80\x04pickle.", whole[:-1], whole + b"1", whole[:40]]
    for number, data in enumerate(damaged, 1):
        await client.set(place, data)
        assert await cache.get("a", MISSING) is MISSING
        assert await cache.get_entry("a") is None
        assert await cache.get_many(["a"]) == {}
        assert cache.stats().errors == 3 * number
        assert await cache.get_or_set("a", lambda: _value("loaded")) == "loaded"
        assert await cache.get("a") == "loaded"
        assert cache.stats().errors == 3 * number + 1  # get_or_set looked as well
        cache._damaged = 3 * number
    assert "'a' cannot be read and counts as a miss" in caplog.text


async def _value(value):
    return value


async def test_a_payload_that_cannot_be_read_is_a_miss_and_loaded_again(cache, prefix, client):
    await cache.set("a", "x" * 20_000)
    place = f"{prefix}k:a"
    whole = bytearray(await client.get(place))
    assert len(whole) < 1000  # it is stored compressed
    whole[-3] ^= 0xFF
    await client.set(place, bytes(whole))
    assert await cache.get("a", MISSING) is MISSING
    whole[30] = 99  # a codec of the future
    await client.set(place, bytes(whole))
    assert await cache.get("a", MISSING) is MISSING
    assert await cache.get_or_set("a", lambda: _value(1)) == 1
    assert await cache.get("a") == 1


async def test_a_value_that_would_inflate_too_far_is_not_read(url, prefix):
    writing = RedisCacheSettings(url=url, key_prefix=prefix)
    reading = RedisCacheSettings(url=url, key_prefix=prefix, max_value_bytes=10_000)
    async with RedisCache(writing) as writer, RedisCache(reading) as reader:
        await writer.set("a", "x" * 50_000)
        assert await writer.get("a") == "x" * 50_000
        assert await reader.get("a", MISSING) is MISSING


async def test_keys_of_wrong_types_are_removed_and_logged(cache, prefix, client, caplog):
    await cache.set_many({"a": 1, "b": 2}, tags={"t"})
    for spoil in (client.rpush(f"{prefix}k:a", 1), client.set(f"{prefix}m", "no hash")):
        await client.delete(f"{prefix}k:a", f"{prefix}m")
        await spoil
        assert await cache.get("a", MISSING) is MISSING
        assert await cache.get("b", MISSING) is MISSING  # the generations went with the meta key
        await cache.set("a", 3, tags={"t"})
        assert await cache.get("a") == 3
        await cache.invalidate_tags("t")
        assert await cache.get("a", MISSING) is MISSING
        await cache.set("b", 2)
    assert "wrong type" in caplog.text


async def test_an_entry_ends_when_it_should_although_its_ttl_was_lost(cache, prefix, client):
    await cache.set("a", 1, ttl=0.2)
    await client.persist(f"{prefix}k:a")
    await cache.set("b", 1, ttl=600)
    await client.pexpire(f"{prefix}k:b", 600_000_000)
    assert 599 < await cache.ttl("b") <= 600
    await asyncio.sleep(0.3)
    assert await cache.get("a", MISSING) is MISSING


async def test_losing_the_generations_loses_entries_and_brings_nothing_back(cache, prefix, client):
    await cache.set("a", 1, tags={"t"})
    await cache.invalidate_tags("t")
    await cache.set("b", 1)
    await client.delete(f"{prefix}m")
    assert await cache.get_many(["a", "b"]) == {}
    await cache.set("c", 1)
    assert await cache.get_many("abc") == {"c": 1}


async def test_only_the_last_invalidations_are_remembered_and_none_is_forgotten(
    url, prefix, client
):
    settings = RedisCacheSettings(url=url, key_prefix=prefix, max_generations=40)
    async with RedisCache(settings) as cache:
        for number in range(200):
            key = f"k{number}"
            await cache.set(key, number, tags={f"t{number}"})
            if number % 2:
                await cache.invalidate_tags(f"t{number}")
                assert await cache.get(key, MISSING) is MISSING
            else:
                assert await cache.get(key) == number
        dead = [f"k{number}" for number in range(1, 200, 2)]
        assert await cache.get_many(dead) == {}
        assert await cache.get("k198") == 198
        assert await client.hlen(f"{prefix}m") + await client.hlen(f"{prefix}m:old") < 60
        await client.delete(f"{prefix}m:old")
        assert await cache.get_many(dead) == {}


async def test_many_prefixes_are_bounded(url, prefix, client):
    async with RedisCache(RedisCacheSettings(url=url, key_prefix=prefix)) as cache:
        await cache.set("zz", 1)
        for number in range(40):
            await cache.delete_prefix("a" * (number + 1))
        assert await client.hlen(f"{prefix}m") < 60
        await cache.set("aaa", 2)
        await cache.set("b", 3)
        await cache.delete_prefix("aa")
        assert await cache.get_many(["aaa", "b"]) == {"b": 3}


async def test_sweeping_frees_what_was_invalidated(cache, prefix, client):
    await cache.set_many({f"a{n}": n for n in range(50)}, tags={"t"})
    await cache.set_many({f"b{n}": n for n in range(50)})
    await cache.invalidate_tags("t")
    assert await cache.sweep(pause=0) == 50
    assert len(await client.keys(f"{prefix}k:*")) == 50
    assert len(await cache.get_many(f"b{n}" for n in range(50))) == 50


async def test_keys_are_strings(cache):
    with pytest.raises(CacheKeyError, match="use a string"):
        await cache.get(1)


async def test_a_restarted_server_is_not_trusted(make_server):
    server = make_server("--appendonly", "yes", "--appendfsync", "always")
    trusting = RedisCacheSettings(url=server.url, key_prefix="t:", keep_across_restarts=True)
    async with RedisCache(RedisCacheSettings(url=server.url)) as cache, RedisCache(trusting) as old:
        await cache.set("a", 1)
        await old.set("a", 1)
        server.kill()
        with pytest.raises(RedisUnavailableError):
            await cache.get("a")
        server.start()
        assert await cache.get("a", MISSING) is MISSING
        assert await old.get("a") == 1
        await cache.set("a", 2)
        assert await cache.get("a") == 2


async def test_an_acl_user_without_info_may_use_the_cache(make_server, caplog):
    server = make_server()
    import redis.asyncio

    async with redis.asyncio.Redis.from_url(server.url) as admin:
        await admin.execute_command(
            *[
                "ACL",
                "SETUSER",
                "ann",
                "on",
                ">secret",
                "~varco:cache:*",
                "+@all",
                "-info",
                "-@admin",
            ]
        )
        await admin.execute_command("ACL", "SETUSER", "default", "off")
    settings = RedisCacheSettings(url=server.url, username="ann", password="secret")
    async with RedisCache(settings) as cache:
        await cache.set("a", 1)
        assert await cache.get("a") == 1
    assert "is not known" in caplog.text
    wrong = RedisCacheSettings(url=server.url, username="ann", password="hunter2")
    with pytest.raises(RedisUnavailableError) as caught:
        await RedisCache(wrong).get("a")
    assert "hunter2" not in str(caught.value)


async def test_copies_are_forgotten_when_another_process_writes(url, prefix):
    settings = RedisCacheSettings(url=url, key_prefix=prefix)
    async with TrackedRedisCache(settings) as tracked, RedisCache(settings) as other:
        acts = (
            lambda: other.set("n:k", "new"),
            lambda: other.delete("n:k"),
            lambda: other.invalidate_tags("t"),
            lambda: other.delete_prefix("n:"),
            other.clear,
        )
        for act in acts:
            await other.set("n:k", "old", ttl=600, tags={"t"})
            await until(lambda: tracked.peek("n:k") is MISSING)
            await asyncio.sleep(0.05)  # the message of the set, if it is still under way
            assert await tracked.get("n:k") == "old"
            assert await tracked.get("n:k", type_hint=str) == "old"
            assert tracked.peek("n:k") == "old"
            await act()
            await until(lambda: tracked.peek("n:k") is MISSING)
            now = await other.get("n:k")
            assert await tracked.get("n:k") == await tracked.get("n:k", type_hint=str) == now


async def test_a_copy_is_no_message_away_from_its_own_process(url, prefix):
    async with TrackedRedisCache(RedisCacheSettings(url=url, key_prefix=prefix)) as tracked:
        for number in range(20):
            await tracked.set("k", number)
            assert await tracked.get("k") == number


async def test_copies_are_not_used_while_tracking_is_interrupted(make_server):
    server = make_server()
    settings = RedisCacheSettings(url=server.url, timeout=2.0)
    async with TrackedRedisCache(settings, check_interval=0.2) as tracked:
        await tracked.set("k", 1)
        await asyncio.sleep(0.1)
        assert await tracked.get("k") == 1
        assert tracked.is_tracking
        server.freeze()  # no connection breaks
        await until(lambda: not tracked.is_tracking)
        assert tracked.peek("k") is MISSING
        server.thaw()
        await until(lambda: tracked.is_tracking)
        assert await tracked.get("k") == 1
        server.kill()
        await until(lambda: not tracked.is_tracking)
        server.start()
        await until(lambda: tracked.is_tracking)
        assert await tracked.get("k", MISSING) is MISSING


def test_the_header_is_what_the_scripts_read():
    assert struct.calcsize(">4s8sddHBI") == 35


async def test_damaged_tags_are_a_miss_that_is_logged(cache, prefix, client, caplog):
    for tags in (b"\xff\xff", b"\x00", b"\x00\x01x\x00", b"\x00\x00" * 1001):
        await cache.set("a", 1)
        place = f"{prefix}k:a"
        head, payload = (whole := await client.get(place))[:28], whole[35:]
        spoilt = struct.pack(">HBI", len(tags), 0, len(payload)) + tags + payload
        await client.set(place, head + spoilt)
        errors = cache.stats().errors
        assert await cache.get("a", MISSING) is MISSING
        assert await cache.get_many(["a"]) == {}
        assert await cache.get_entry("a") is None
        assert cache.stats().errors == errors + 3
    assert "'a' cannot be read" in caplog.text


@pytest.mark.parametrize("field", ["s", "e", "r", "f", "tt", "pa", "ps"])
async def test_a_meta_key_whose_numbers_are_none_begins_anew(
    url, prefix, client, caplog, field, cache
):
    await cache.set("a", 1, tags={"t"})
    await cache.delete_prefix("a")
    await client.hset(f"{prefix}m", field, "no number")
    await cache.invalidate_tags("t")
    await cache.set("a", 2, tags={"t"})
    async with RedisCache(RedisCacheSettings(url=url, key_prefix=prefix)) as other:  # is greeted
        for one in (cache, other):
            assert await one.get("a", MISSING) in {2, MISSING}
            assert await one.get_many(["a"]) in ({"a": 2}, {})
        await other.delete_prefix("a2")
        await other.set("a", 3, tags={"t"})
        assert await cache.get("a") == 3
        await other.invalidate_tags("t")
        assert await cache.get("a", MISSING) is MISSING
    await cache.clear()
    if cache.stats().errors + other.stats().errors:
        assert "wrong type or content" in caplog.text


async def test_a_ttl_that_redis_cannot_hold_is_very_long(cache):
    await cache.set("a", 1, ttl=1e300)
    assert await cache.ttl("a") > 1e10


async def test_several_keys_take_one_call(url, prefix, client):
    async with RedisCache(RedisCacheSettings(url=url, key_prefix=prefix)) as cache:
        items = {f"k{n}": n for n in range(100)}
        keys = [*items, "missing"]
        await cache.set_many(items, ttl=100, tags={"t"})
        await cache.set("k1", "other", ttl=50, tags={"x"})
        await cache.get_many(keys)  # the script is known from now on
        calls = cache._link.call
        count = 0

        async def counted(*args):
            nonlocal count
            count += 1
            return await calls(*args)

        cache._link.call = counted
        assert await cache.get_many(keys) == items | {"k1": "other"}
        entries = await cache.get_entries(keys)
        await cache.set_many(items)
        await cache.delete_many(keys)
    assert count == 3  # deleting is a pipeline of one
    assert {key: entry.value for key, entry in entries.items()} == items | {"k1": "other"}
    assert 49 < entries["k1"].ttl <= 50
    assert 99 < entries["k2"].ttl <= 100
    assert (entries["k1"].tags, entries["k2"].tags) == ({"x"}, {"t"})
    assert (cache.stats().hits, cache.stats().misses) == (300, 3)
