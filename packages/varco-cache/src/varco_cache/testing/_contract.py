"""What every cache backend promises, as tests to inherit."""

# ruff: noqa: S101, PLR2004 # tests assert, and their numbers are the expectation
from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel

from varco_cache._entry import MISSING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from varco_cache._base import CacheBackend
    from varco_cache._flight import Loader


class CacheContract:
    """Inherit it in a test class, with a fixture `cache` that gives an empty, started cache.

    Run its async tests with the plugin of your choice (`pytestmark = pytest.mark.anyio`).
    Override `advance` when the cache has a clock of its own, or else it really sleeps; override
    `short` when the backend cannot count time that finely.
    """

    short: float = 0.05

    async def advance(self, seconds: float) -> None:
        """Let time pass for the cache."""
        await anyio.sleep(seconds)

    async def test_a_miss_is_told_from_a_cached_none(self, cache: CacheBackend) -> None:
        """A cached None is a hit."""
        assert await cache.get("k", MISSING) is MISSING
        assert await cache.get("k") is None
        assert await cache.get("k", 7) == 7
        await cache.set("k", None)
        assert await cache.get("k", MISSING) is None
        assert await cache.exists("k")

    async def test_what_was_set_is_read(self, cache: CacheBackend) -> None:
        """The last set wins."""
        await cache.set("k", {"a": [1, "x"]})
        assert await cache.get("k") == {"a": [1, "x"]}
        await cache.set("k", 2)
        assert await cache.get("k") == 2
        assert await cache.get("other", MISSING) is MISSING

    async def test_an_entry_ends_with_its_ttl(self, cache: CacheBackend) -> None:
        """Not before, not after, and only that entry."""
        await cache.set("short", 1, ttl=self.short)
        await cache.set("long", 2, ttl=1000 * self.short)
        await cache.set("endless", 3, ttl=math.inf)
        left = await cache.ttl("short")
        assert left is not None
        assert 0 < left <= self.short
        assert await cache.ttl("endless") == math.inf
        assert await cache.ttl("none") is None
        await self.advance(1.5 * self.short)
        assert await cache.get("short", MISSING) is MISSING
        assert not await cache.exists("short")
        assert await cache.get("long") == 2
        await cache.set("short", 4, ttl=1000 * self.short)
        assert await cache.get("short") == 4

    async def test_a_set_replaces_ttl_and_tags(self, cache: CacheBackend) -> None:
        """Nothing of the former entry remains."""
        await cache.set("k", 1, ttl=self.short, tags={"old"})
        await cache.set("k", 2, ttl=1000 * self.short, tags={"new"})
        await cache.invalidate_tags("old")
        await self.advance(1.5 * self.short)
        assert await cache.get("k") == 2
        await cache.invalidate_tags("new")
        assert await cache.get("k", MISSING) is MISSING

    async def test_the_entry_tells_its_tags(self, cache: CacheBackend) -> None:
        """A layer above promotes it with them."""
        await cache.set("k", 1, tags={"a", "b"})
        entry = await cache.get_entry("k")
        assert entry is not None
        assert (entry.value, entry.ttl, entry.tags) == (1, math.inf, frozenset({"a", "b"}))
        assert await cache.get_entry("none") is None

    async def test_delete_forgets_one_key(self, cache: CacheBackend) -> None:
        """And a missing key is no error."""
        await cache.set_many({"a": 1, "b": 2})
        await cache.delete("a")
        await cache.delete("a")
        assert await cache.get_many(["a", "b"]) == {"b": 2}
        await cache.set("a", 3)
        assert await cache.get("a") == 3

    async def test_many_at_once(self, cache: CacheBackend) -> None:
        """Equal to one by one."""
        await cache.set_many({f"k{n}": n for n in range(50)}, tags={"t"})
        found = await cache.get_many([f"k{n}" for n in range(60)])
        assert found == {f"k{n}": n for n in range(50)}
        entries = await cache.get_entries(["k1", "k2", "k99"])
        assert {key: entry.value for key, entry in entries.items()} == {"k1": 1, "k2": 2}
        assert entries["k1"].tags == frozenset({"t"})
        await cache.delete_many([f"k{n}" for n in range(25)])
        assert len(await cache.get_many([f"k{n}" for n in range(60)])) == 25
        await cache.invalidate_tags("t")
        assert await cache.get_many([f"k{n}" for n in range(60)]) == {}

    async def test_tags_forget_and_a_later_set_is_served(self, cache: CacheBackend) -> None:
        """Only what carries one of the tags."""
        await cache.set("a", 1, tags={"x"})
        await cache.set("b", 2, tags={"x", "y"})
        await cache.set("c", 3, tags={"z"})
        await cache.invalidate_tags("x", "unknown")
        assert await cache.get_many("abc") == {"c": 3}
        await cache.set("a", 4, tags={"x"})
        assert await cache.get("a") == 4
        await cache.invalidate_tags("y", "z")
        assert await cache.get_many("abc") == {"a": 4}

    async def test_a_prefix_forgets_and_a_later_set_is_served(self, cache: CacheBackend) -> None:
        """Literally: no character of it has a meaning."""
        for key in ("a:1", "a:2", "a", "ab:1", "*:1", "x[1]:1"):
            await cache.set(key, key)
        await cache.delete_prefix("a:")
        await cache.delete_prefix("*")
        await cache.delete_prefix("x[1]")
        assert set(await cache.get_many(["a:1", "a:2", "a", "ab:1", "*:1", "x[1]:1"])) == {
            "a",
            "ab:1",
        }
        await cache.set("a:1", 1)
        assert await cache.get("a:1") == 1

    async def test_clear_forgets_all(self, cache: CacheBackend) -> None:
        """And the cache goes on."""
        await cache.set_many({"a": 1, "b": 2}, tags={"t"})
        await cache.clear()
        assert await cache.get_many("ab") == {}
        await cache.set("a", 3, tags={"t"})
        assert await cache.get("a") == 3

    async def test_namespaces_do_not_meet(self, cache: CacheBackend) -> None:
        """Two views and the whole."""
        one, two = cache.namespace("one"), cache.namespace("two")
        await one.set("k", 1)
        await two.set("k", 2)
        assert (await one.get("k"), await two.get("k")) == (1, 2)
        await one.clear()
        assert await one.get("k", MISSING) is MISSING
        assert await two.get("k") == 2

    async def test_many_misses_make_one_load(self, cache: CacheBackend) -> None:
        """And all get its result."""
        go, loads, results = anyio.Event(), list[int](), list[Any]()

        async def load() -> str:
            loads.append(1)
            await go.wait()
            return "value"

        async def ask() -> None:
            results.append(await cache.get_or_set("k", load))

        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(ask)
            await _until(lambda: bool(loads))
            go.set()
        assert results == ["value"] * 100
        assert len(loads) == 1
        assert await cache.get("k") == "value"

    async def test_a_load_does_not_bring_back_what_was_invalidated(
        self, cache: CacheBackend
    ) -> None:
        """However it was invalidated; the caller of the load still gets its result."""
        acts: tuple[tuple[Callable[[], Awaitable[None]], Any], ...] = (
            (lambda: cache.delete("n:k"), MISSING),
            (lambda: cache.set("n:k", "new"), "new"),
            (lambda: cache.invalidate_tags("t"), MISSING),
            (lambda: cache.delete_prefix("n:"), MISSING),
            (cache.clear, MISSING),
        )
        for overtake, expected in acts:
            await cache.clear()
            begun, go, got = anyio.Event(), anyio.Event(), list[Any]()

            async def load(begun: anyio.Event = begun, go: anyio.Event = go) -> str:
                begun.set()
                await go.wait()
                return "old"

            async def ask(got: list[Any] = got, load: Loader = load) -> None:
                got.append(await cache.get_or_set("n:k", load, tags={"t"}))

            async with anyio.create_task_group() as group:
                group.start_soon(ask)
                await begun.wait()
                await overtake()
                go.set()
            assert got == ["old"]
            assert await cache.get("n:k", MISSING) == expected

    async def test_a_failed_load_is_not_cached(self, cache: CacheBackend) -> None:
        """The next one loads again."""

        async def fail() -> None:
            raise LookupError("k")

        async def succeed() -> int:
            return 1

        try:
            await cache.get_or_set("k", fail)
        except LookupError:
            pass
        else:
            raise AssertionError("the failure of the loader was lost")
        assert await cache.get_or_set("k", succeed) == 1

    async def test_a_lease_is_worth_one_fill(self, cache: CacheBackend) -> None:
        """Filled, revoked or released, it is over."""
        lease = await cache.lease("k", tags={"t"})
        await cache.arm(lease)
        assert await cache.holds(lease)
        assert await cache.fill(lease, 1)
        assert await cache.get("k") == 1
        assert not await cache.fill(lease, 2)
        lease = await cache.lease("k", tags={"t"})
        await cache.arm(lease, look=False)
        await cache.invalidate_tags("t")
        assert not await cache.holds(lease)
        assert not await cache.fill(lease, 3)
        assert await cache.get("k", MISSING) is MISSING
        lease = await cache.lease("k")
        await cache.release(lease)
        assert not await cache.fill(lease, 4)

    async def test_of_two_loads_the_later_begun_wins(self, cache: CacheBackend) -> None:
        """Whichever ends first."""
        older = await cache.lease("k")
        await cache.arm(older)
        newer = await cache.lease("k")
        await cache.arm(newer)
        assert await cache.fill(newer, "new")
        assert not await cache.fill(older, "old")
        assert await cache.get("k") == "new"


async def _until(done: Any) -> None:
    while not done():
        await anyio.lowlevel.checkpoint()
