import dataclasses
import datetime as dt
import enum
import inspect
import uuid

import anyio
import pydantic
import pytest

from varco_cache import (
    CacheBackend,
    CacheConfigError,
    CacheKeyError,
    CacheUsageError,
    InMemoryCache,
    cached,
)

pytestmark = pytest.mark.anyio


async def test_equal_calls_share_a_key_however_they_are_spelt():
    calls = []

    @cached(InMemoryCache(), ttl=300, namespace="posts")
    async def get(post_id: int, /, lang: str = "en", *, full: bool = False) -> str:
        """Docs."""
        calls.append((post_id, lang, full))
        return f"{post_id}{lang}{full}"

    assert await get(1) == await get(1, "en") == await get(1, lang="en", full=False) == "1enFalse"
    assert len(calls) == 1
    await get(1, "it")
    await get(1, full=True)
    await get(2)
    assert len(calls) == 4
    assert get.__name__ == "get"
    assert get.__doc__ == "Docs."


async def test_values_that_differ_do_not_share_a_key():
    @cached(InMemoryCache())
    async def echo(value):
        return value

    @dataclasses.dataclass
    class Point:
        x: int
        y: int

    values = [
        1, True, 1.0, "1", b"1", None, "None", (1,), [1], {1}, {"1": 1}, (), [], "", "a,b",
        ("a", "b"), Point(1, 2), Point(2, 1), uuid.UUID(int=1), dt.date(2020, 1, 1),
        dt.datetime(2020, 1, 1, tzinfo=dt.UTC), int, Point, ((1,), 2), (1, (2,)),
    ]  # fmt: skip
    keys = [echo.key_for(value) for value in values]
    assert len(set(keys)) == len(values)
    assert echo.key_for({"a": 1, "b": 2}) == echo.key_for({"b": 2, "a": 1})
    assert echo.key_for({1, 2, 3}) == echo.key_for({3, 2, 1})


async def test_var_arguments_are_part_of_the_key():
    @cached(InMemoryCache())
    async def total(*numbers, **more):
        return sum(numbers) + sum(more.values())

    assert await total(1, 2, x=3) == 6
    assert await total(1, 2, y=4) == 7
    assert total.key_for(a=1, b=2) == total.key_for(b=2, a=1)
    assert total.key_for(1, 2) != total.key_for((1, 2))


async def test_an_argument_without_a_key_is_named():
    @cached(InMemoryCache())
    async def query(session, number):
        return number

    with pytest.raises(CacheKeyError, match="argument 'session'"):
        await query(object(), 1)


async def test_a_long_key_is_digested_and_still_of_its_function():
    cache = InMemoryCache()

    @cached(cache, namespace="n")
    async def echo(text):
        return text

    assert len(echo.key_for("x" * 100_000)) < 200
    assert echo.key_for("x" * 1000) != echo.key_for("x" * 1001)
    await echo("x" * 1000)
    await echo.invalidate_all()
    assert cache.size == 0


async def test_keys_from_a_template_and_from_a_callable():
    cache = InMemoryCache()

    @cached(cache, key="user:{user_id}")
    async def user(user_id, verbose=False):
        return f"u{user_id}"

    @cached(cache, key=lambda a, b: f"{a + b}", namespace="sum")
    async def add(a, b):
        return a + b

    await user(7, verbose=True)
    await add(1, 2)
    assert await cache.get("user:7") == "u7"
    assert await cache.get("sum:3") == 3
    await user.invalidate(7)
    assert await cache.get("user:7") is None
    await user(8)
    await user.invalidate_all()
    assert await cache.get("user:8") is None
    assert await cache.get("sum:3") == 3
    with pytest.raises(CacheConfigError, match=r"use only \{user_id\}"):

        @cached(cache, key="user:{id}")
        async def other(user_id):
            return user_id


async def test_none_is_cached_and_failures_are_not():
    calls = []

    @cached(InMemoryCache())
    async def find(key):
        calls.append(key)
        if len(calls) == 1:
            raise LookupError(key)

    with pytest.raises(LookupError):
        await find(1)
    assert await find(1) is None
    assert await find(1) is None
    assert len(calls) == 2


async def test_invalidate_invalidate_all_and_refresh():
    cache, calls = InMemoryCache(), []

    @cached(cache, namespace="posts")
    async def get(post_id):
        calls.append(post_id)
        return len(calls)

    @cached(cache, namespace="posts")
    async def other(post_id):
        return f"other{post_id}"

    assert [await get(1), await get(2), await other(1), await get(1)] == [1, 2, "other1", 1]
    await get.invalidate(post_id=1)
    assert [await get(1), await get(2)] == [3, 2]
    assert await get.refresh(2) == 4
    assert await get(2) == 4
    await get.invalidate_all()
    assert await get(1) == 5
    assert await cache.exists(other.key_for(1))


async def test_methods_with_a_cache_of_their_own():
    class Posts:
        def __init__(self, cache: CacheBackend) -> None:
            self._cache = cache
            self.calls = 0

        def __cache_key__(self) -> str:
            return "all read the same table"

        @cached(lambda self: self._cache, ttl=120, namespace="posts")
        async def find(self, post_id: int) -> int:
            self.calls += 1
            return self.calls

    shared = InMemoryCache()
    one, two, apart = Posts(shared), Posts(shared), Posts(InMemoryCache())
    assert [await one.find(1), await one.find(post_id=1), await two.find(1)] == [1, 1, 1]
    assert await apart.find(1) == 1
    assert (one.calls, two.calls, apart.calls) == (1, 0, 1)
    await two.find.invalidate(1)
    assert await one.find(1) == 2
    assert await Posts.find(one, 1) == 2
    await one.find.invalidate_all()
    assert await one.find.refresh(1) == 3


async def test_methods_on_a_shared_cache_do_not_mix_instances():
    cache = InMemoryCache()

    class Repo:
        def __init__(self, tenant):
            self.tenant = tenant

        @cached(cache)
        async def rows(self):
            return self.tenant

    class Keyed(Repo):
        def __cache_key__(self):
            return self.tenant

    a, b = Repo("a"), Repo("b")
    assert [await a.rows(), await b.rows(), await a.rows()] == ["a", "b", "a"]
    assert Keyed("a").rows.key_for() == Keyed("a").rows.key_for() != Keyed("b").rows.key_for()
    await a.rows.invalidate_all()
    assert not await cache.exists(a.rows.key_for())
    assert await cache.exists(b.rows.key_for())


async def test_class_and_static_methods():
    calls = []

    class Base:
        @cached(InMemoryCache())
        @classmethod
        async def kind(cls, number):
            calls.append(number)
            return f"{cls.__name__}{number}"

        @cached(InMemoryCache())
        @staticmethod
        async def twice(number):
            calls.append(number)
            return number * 2

        @staticmethod
        @cached(InMemoryCache())
        async def thrice(number):
            return number * 3

    class Child(Base):
        pass

    assert [await Base.kind(1), await Child.kind(1), await Child().kind(number=1)] == [
        "Base1",
        "Child1",
        "Child1",
    ]
    assert [await Base.twice(2), await Base().twice(2)] == [4, 4]
    assert await Base().thrice(2) == 6
    assert calls == [1, 1, 2]
    await Child.kind.invalidate(1)
    await Child.kind(1)
    assert calls == [1, 1, 2, 1]


async def test_what_is_not_async_is_refused():
    with pytest.raises(CacheUsageError, match="load is none"):

        @cached(InMemoryCache())
        def load():
            return 1

    with pytest.raises(CacheUsageError, match="needs a cache"):
        cached("redis://")


async def test_tags_from_the_arguments():
    cache = InMemoryCache()

    @cached(cache, tags=lambda user_id: {f"user:{user_id}"})
    async def orders(user_id):
        return object()

    first, second = await orders(1), await orders(2)
    await cache.invalidate_tags("user:1")
    assert await orders(1) is not first
    assert await orders(2) is second


class Broken(CacheBackend):
    """A cache that is down."""

    async def _fail(self, *args, **kwargs):
        raise ConnectionError("down")

    get_entry = set = delete = clear = delete_prefix = invalidate_tags = lease = _fail


class Hanging(CacheBackend):
    """A cache that answers never."""

    async def _hang(self, *args, **kwargs):
        await anyio.sleep_forever()

    get_entry = set = delete = clear = delete_prefix = invalidate_tags = lease = _hang


async def test_a_cache_that_is_down_costs_nothing_but_the_call():
    @cached(Broken(), ttl=9, stale_if_error=9)
    async def work(number):
        return number

    assert [await work(n) for n in range(10)] == list(range(10))
    await work.invalidate(1)
    await work.invalidate_all()
    assert await work.refresh(5) == 5


async def test_stale_while_revalidate_serves_the_old_while_one_load_renews(clock):
    async with InMemoryCache(clock=clock) as cache:
        go, calls = anyio.Event(), []

        @cached(cache, ttl=10, stale_while_revalidate=5)
        async def get():
            calls.append(1)
            if len(calls) > 1:
                await go.wait()
            return len(calls)

        assert await get() == 1
        clock.advance(12)
        async with anyio.create_task_group() as group:
            results = []

            async def ask():
                results.append(await get())

            for _ in range(100):
                group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            assert results.count(1) >= 99 or results == [1] * 100
            go.set()
        await anyio.wait_all_tasks_blocked()
        assert len(calls) == 2
        assert cache.stats().stale == results.count(1)
        assert await get() == 2
        clock.advance(16)
        assert await get() == 3


async def test_stale_if_error_serves_the_old_when_renewing_fails(clock):
    cache, fail = InMemoryCache(clock=clock), []

    @cached(cache, ttl=10, stale_if_error=100)
    async def get():
        if fail:
            raise ConnectionError
        return "value"

    assert await get() == "value"
    fail.append(1)
    clock.advance(50)
    assert await get() == "value"
    await get.invalidate()
    with pytest.raises(ConnectionError):
        await get()


async def test_early_refresh_renews_before_the_end(clock):
    async with InMemoryCache(clock=clock) as cache:
        calls = []

        @cached(cache, ttl=10, early_refresh=3)
        async def get():
            calls.append(1)
            return len(calls)

        assert await get() == 1
        clock.advance(6)
        assert await get() == 1
        clock.advance(2)
        assert await get() == 1
        await anyio.wait_all_tasks_blocked()
        assert await get() == 2


async def test_jitter_spreads_the_ends(clock):
    cache = InMemoryCache(clock=clock)

    @cached(cache, ttl=100, jitter=0.2)
    async def get(number):
        return number

    lives = set()
    for number in range(50):
        await get(number)
        lives.add(await cache.ttl(get.key_for(number)))
    assert len(lives) > 40
    assert all(80 <= life <= 100 for life in lives)


async def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(CacheConfigError, match="stale_if_error needs one"):
        cached(InMemoryCache(), stale_if_error=9)
    with pytest.raises(CacheConfigError, match="jitter=1"):
        cached(InMemoryCache(), ttl=3, jitter=1)


async def test_functions_of_one_name_in_two_modules_do_not_share_results():
    cache = InMemoryCache()

    def define(module):
        async def get(number):
            return module

        get.__module__ = module
        return cached(cache, namespace="posts")(get)

    one, two = define("one"), define("two")
    assert [await one(1), await two(1), await one(1)] == ["one", "two", "one"]
    await one.invalidate_all()
    assert not await cache.exists(one.key_for(1))
    assert await cache.exists(two.key_for(1))


async def test_namesakes_of_two_modules_do_not_share_a_key():
    @cached(InMemoryCache())
    async def echo(value):
        return value

    def define(module):
        kinds = [
            enum.Enum("Kind", "A", module=module),
            type("Kind", (str,), {"__module__": module}),
            type("Kind", (tuple,), {"__module__": module}),
            type("Kind", (), {"__module__": module, "__cache_key__": lambda self: "x"}),
        ]
        return [kinds[0].A, kinds[1]("x"), kinds[2](("x",)), kinds[3]()]

    values = define("one") + define("two")
    assert len({echo.key_for(value) for value in values}) == len(values)
    flags = enum.Flag("Flags", "A B C")
    values = [flags(number) for number in range(8)]
    assert len({echo.key_for(value) for value in values}) == len(values)


async def test_a_field_that_is_not_dumped_tells_models_apart():
    class Query(pydantic.BaseModel):
        text: str
        user: int = pydantic.Field(exclude=True)

    @cached(InMemoryCache())
    async def find(query):
        return query.user

    assert [await find(Query(text="a", user=user)) for user in (1, 2, 1)] == [1, 2, 1]


async def test_a_sentinel_is_a_default_like_any_other():
    missing = object()

    @cached(InMemoryCache())
    async def get(key, default=missing, *, _prefix="p", _key=None):
        return default is missing

    assert await get(1)
    assert await get(1, missing)
    assert not await get(1, 2)
    assert get.key_for(1) != get.key_for(1, "=")
    with pytest.raises(CacheKeyError, match="'default'"):
        get.key_for(1, object())


async def test_a_method_forgets_its_long_keys_as_well():
    cache = InMemoryCache()

    class Repo:
        @cached(cache)
        async def find(self, text):
            return text

    one, two = Repo(), Repo()
    await one.find("x" * 1000)
    await two.find("x" * 1000)
    await one.find.invalidate_all()
    assert not await cache.exists(one.find.key_for("x" * 1000))
    assert await cache.exists(two.find.key_for("x" * 1000))


async def test_invalidate_all_leaves_what_others_keep_in_the_namespace():
    cache = InMemoryCache()

    @cached(cache, key="one:{number}", namespace="shared")
    async def one(number):
        return number

    @cached(cache, key="two:{number}", namespace="shared")
    async def two(number):
        return number

    await one(1)
    await two(1)
    await one.invalidate_all()
    assert await cache.get_many(["shared:one:1", "shared:two:1"]) == {"shared:two:1": 1}


async def test_a_cached_method_looks_like_the_method():
    class Repo:
        @cached(InMemoryCache())
        async def find(self, pk: int, *, full: bool = False) -> str:
            """Docs."""
            return str(pk)

        @cached(InMemoryCache())
        @staticmethod
        async def count(pk: int) -> int:
            return pk

    find = Repo().find
    assert inspect.iscoroutinefunction(find)
    assert inspect.iscoroutinefunction(Repo.find)
    assert find.__name__ == "find"
    assert list(inspect.signature(find).parameters) == ["pk", "full"]
    assert list(inspect.signature(Repo.find).parameters) == ["self", "pk", "full"]
    assert list(inspect.signature(Repo.count).parameters) == ["pk"]
    with pytest.raises(AttributeError, match="nothing"):
        _ = find.nothing


async def test_hits_and_misses_of_calls_are_counted(clock):
    cache = InMemoryCache(clock=clock)

    @cached(cache)
    async def plain(number):
        return number

    @cached(cache, ttl=10, stale_if_error=10)
    async def aged(number):
        return number

    for number in (1, 2, 1, 1):
        await plain(number)
        await aged(number)
        await cache.get_or_set(f"k{number}", plain.__wrapped__.__get__(number))
    stats = cache.stats()
    assert (stats.hits, stats.misses, stats.loads) == (6, 6, 6)


async def test_a_cache_chosen_by_the_first_argument_needs_it_by_position():
    caches = {"here": InMemoryCache(), "there": InMemoryCache()}

    @cached(lambda where: caches[where])
    async def find(where, pk):
        return pk

    assert await find("here", 1) == 1
    assert (caches["here"].size, caches["there"].size) == (1, 0)
    with pytest.raises(CacheUsageError, match="by position"):
        await find(where="here", pk=1)
