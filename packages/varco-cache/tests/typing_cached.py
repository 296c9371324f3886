"""For mypy and pyright, never run: decorated functions keep their signature."""

from typing import Any, assert_type

from varco_cache import CacheBackend, CachedFunction, CachedMethod, InMemoryCache, cached

memory = InMemoryCache()


@cached(memory, ttl=3)
async def double(number: int, *, twice: bool = False) -> str:
    return str(number)


class Repo:
    cache: CacheBackend

    @cached(lambda self: self.cache)
    async def find(self, pk: int) -> str | None:
        return None

    @cached(lambda: memory)
    async def nothing(self) -> None:
        return None

    @cached(memory)
    @staticmethod
    async def count(pk: int) -> int:
        return pk


async def check(repo: Repo) -> None:
    assert_type(await double(1, twice=True), str)
    await double("x")  # type: ignore[arg-type]
    await double.invalidate(1)
    await double.invalidate("x")  # type: ignore[arg-type]
    assert_type(await double.refresh(1), str)
    assert_type(double.key_for(1), str)
    assert_type(await repo.find(1), str | None)
    await repo.find("x")  # type: ignore[arg-type]
    await repo.find.invalidate(1)
    assert_type(await Repo.count(1), int)
    value: Any = await memory.get("k")
    del value


names = (CachedFunction, CachedMethod)
