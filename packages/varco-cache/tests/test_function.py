"""A cached function behaves like the function."""

import copy
import functools
import gc
import inspect
import pickle
import sys
import types
import weakref

import httpx
import pytest
from fastapi import Depends, FastAPI

from varco_cache import CacheKeyError, InMemoryCache, LayeredCache, cached

pytestmark = pytest.mark.anyio
cache = InMemoryCache()


@cached(cache)
async def load(number, factor=2, *, plus=0):
    return number * factor + plus


class Service:
    def __init__(self, name="s"):
        self.name = name

    @cached(cache)
    async def current(self, number: int = 1) -> str:
        return f"{self.name}{number}"

    @classmethod
    @cached(cache)
    async def beneath(cls, number):
        return cls, number

    @cached(cache)
    @classmethod
    async def above(cls, number):
        return cls, number

    @cached(cache)
    @staticmethod
    async def free(number):
        return number


class Other(Service):
    pass


def test_bound_methods_are_equal_as_methods_are():
    one, two = Service(), Service()
    assert one.current == one.current
    assert hash(one.current) == hash(one.current)
    assert one.current != two.current
    assert one.current != one.above
    assert one.current != 1
    assert {one.current: 1}[one.current] == 1
    assert weakref.WeakMethod(one.current)() == one.current
    assert Service.free is Service.free


async def test_functions_and_methods_are_pickled_by_name_and_copied_as_themselves():
    assert pickle.loads(pickle.dumps(load)) is load
    assert pickle.loads(pickle.dumps(Service.free)) is Service.free
    assert copy.deepcopy({"load": load})["load"] is copy.copy(load) is load
    copied = pickle.loads(pickle.dumps(Service("x").current))
    assert await copied(3) == await copy.deepcopy(Service("x").current)(3) == "x3"


async def test_a_framework_finds_the_method_that_it_is_to_override():
    service, app = Service(), FastAPI()

    @app.get("/")
    async def root(value=Depends(service.current)):  # noqa: B008
        return value

    async def fake():
        return "fake"

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.get("/?number=4")).json() == "s4"
        app.dependency_overrides[service.current] = fake
        assert (await client.get("/")).json() == "fake"


def test_it_shows_what_a_function_shows():
    assert load.__code__ is load.__wrapped__.__code__
    assert load.__defaults__ == (2,)
    assert load.__kwdefaults__ == {"plus": 0}
    assert load.__name__ == "load"
    assert inspect.iscoroutinefunction(load)
    assert inspect.iscoroutinefunction(functools.partial(load, 1))
    assert inspect.iscoroutinefunction(Service().current)
    assert Service().current.__func__ is Service.__dict__["current"]
    assert "load" in repr(load)
    assert "current" in repr(Service().current)


async def test_keys_follow_the_defaults():
    @cached(InMemoryCache())
    async def get(number, factor=2, *, plus=0):
        return number * factor + plus

    assert await get(1) == 2
    get.__defaults__ = (3,)
    assert await get(1) == 3
    get.__kwdefaults__ = {"plus": 1}
    assert await get(1) == 4
    assert await get(1, 2) == 3


@pytest.mark.parametrize("name", ["beneath", "above"])
async def test_a_class_method_in_either_order(name):
    for kind in (Service, Other):
        method = getattr(kind, name)
        assert await method(1) == await getattr(kind(), name)(1) == (kind, 1)
        if name == "beneath" and sys.version_info >= (3, 13):
            with pytest.raises(TypeError):  # the class is not told; see the README
                await method.invalidate(1)
        else:
            await method.invalidate(1)
            assert not await cache.exists(method.key_for(1))


async def test_a_class_method_as_later_pythons_bind_it():
    """From 3.13 on `@classmethod` binds what it holds itself, and nothing tells the handles."""
    kind, other = (types.MethodType(vars(Service)["beneath"].__func__, c) for c in (Service, Other))
    assert [await kind(2), await other(2)] == [(Service, 2), (Other, 2)]
    assert await cache.exists(vars(Service)["beneath"].__func__.key_for(Service, 2))
    with pytest.raises((CacheKeyError, TypeError)):
        await kind.invalidate(2)


class Marked:
    """Told apart from all that lived before by a reference."""


@pytest.mark.parametrize("make", [InMemoryCache, lambda: LayeredCache(InMemoryCache())])
async def test_a_failure_is_not_kept_in_a_cycle(make):
    seen = []

    @cached(make())
    async def fail():
        marked = Marked()
        seen.append(weakref.ref(marked))
        raise LookupError(marked)

    await _fail(fail)
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            await _fail(fail)
        assert [one() for one in seen] == [None] * 4
    finally:
        gc.enable()


async def _fail(func):
    try:
        await func()
    except LookupError:
        return
    raise AssertionError("no failure")
