"""Single flight: one load per key, however many wait for it and whoever of them is cancelled."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
from anyio.lowlevel import current_token

from varco_cache._entry import MISSING
from varco_cache._errors import CacheDeadlockError, CacheWaitTimeoutError
from varco_cache._results import checked_result

if TYPE_CHECKING:
    from types import TracebackType

    from varco_cache._base import CacheBackend
    from varco_cache._lease import Lease

type Loader = Callable[[], Awaitable[Any]]

logger = logging.getLogger("varco_cache")


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """What to load, how, and how to store it."""

    key: Any
    loader: Loader
    ttl: float | None = None
    tags: frozenset[str] = frozenset()
    type_hint: Any = None


class Flight:
    """One running load and those who wait for it.

    `ahead` are the flights that its loader began or waits for, in whatever task or thread: their
    contexts tell.
    """

    __slots__ = (
        "ahead", "begun", "error", "landed", "lease", "loop", "parent", "traceback", "value",
        "waiting",
    )  # fmt: skip

    def __init__(self, loop: object, parent: Flight | None) -> None:
        self.loop = loop
        self.parent = parent
        self.ahead: list[Flight] = []
        self.lease: Lease | None = None
        self.begun = False
        self.landed = False
        self.value: Any = MISSING
        self.error: Exception | None = None
        self.traceback: TracebackType | None = None
        self.waiting: anyio.Event | None = None

    def land(self) -> None:
        """Tell those who wait; without value and error it means that the leader gave up."""
        self.landed = True
        if self.waiting is not None:
            self.waiting.set()

    async def wait(self) -> None:
        """Until `land`."""
        if self.waiting is None:
            self.waiting = anyio.Event()
        await self.waiting.wait()


# The load that the code which runs is a part of, of all caches: a loader may ask another cache.
# Tasks and threads that a loader starts inherit it.
loading: ContextVar[Flight | None] = ContextVar("varco_cache_loading", default=None)


class Flights:
    """The running loads of one cache by key.

    State is protected by never awaiting between looking a flight up and registering one. The
    leader loads in its own task, so nobody has to own it; when the leader is cancelled, one of
    those who wait leads a new load. A load of another event loop, which may be closed, is nobody's
    to wait for.
    """

    __slots__ = ("_by_key", "loads", "stale")

    def __init__(self) -> None:
        self._by_key: dict[Any, Flight] = {}
        self.loads = 0
        self.stale = 0  # values that were served instead of loaded

    def __contains__(self, key: object) -> bool:
        flight = self._by_key.get(key)
        return flight is not None and flight.loop is current_token().native_token

    async def load(
        self, cache: CacheBackend, request: LoadRequest, *, join: bool, look: bool
    ) -> Any:
        """What the loader returns, stored in `cache` unless it was invalidated meanwhile.

        With `join`, a load that runs already and was not overtaken by an invalidation is shared;
        with `look`, a cache that may have been filled since the miss is asked once more.
        """
        key, loop = request.key, current_token().native_token
        while True:
            flight = self._by_key.get(key) if join else None
            if flight is not None and flight.loop is not loop:
                if _is_mine(flight):
                    raise CacheDeadlockError(key)
                flight = None
            if flight is not None and not await _joinable(cache, flight):
                if self._by_key.get(key) is not flight:
                    continue  # while the cache was asked, another one began a newer load
                flight = None
            if flight is None:
                return await self._lead(cache, request, Flight(loop, _part_of()), look=look)
            if not flight.landed:
                await _wait(flight, key, cache.wait_timeout)
            if flight.error is not None:
                # The leader's traceback, or each of a thousand who wait would lengthen it.
                error = flight.error.with_traceback(flight.traceback)
                try:
                    raise error
                finally:
                    del error, flight  # or the error would refer to itself, by way of this frame
            if flight.value is not MISSING:
                return flight.value

    async def _lead(
        self, cache: CacheBackend, request: LoadRequest, flight: Flight, *, look: bool
    ) -> Any:
        parent = flight.parent
        self._by_key[request.key] = flight
        if parent is not None:
            parent.ahead.append(flight)
        try:
            return await self._fly(cache, request, flight, look=look)
        except Exception as error:
            if flight.waiting is not None:
                flight.error, flight.traceback = error, error.__traceback__
            raise
        except GeneratorExit:
            # Its event loop was closed: nobody waits any more, and nothing can be awaited here.
            flight.waiting = None
            if flight.lease is not None:
                cache.leases.abandon(flight.lease)
            raise
        finally:
            if not flight.landed:
                flight.land()
            if parent is not None:
                parent.ahead.remove(flight)
            if self._by_key.get(request.key) is flight:
                del self._by_key[request.key]
            lease = flight.lease
            del flight  # likewise
            if lease is not None and not lease.closed:
                await _release(cache, lease)

    async def _fly(
        self, cache: CacheBackend, request: LoadRequest, flight: Flight, *, look: bool
    ) -> Any:
        value = flight.value = await _begin(cache, flight, request, look=look)
        if value is not MISSING:
            return value
        self.loads += 1
        outer = loading.get()
        loading.set(flight)
        try:
            loaded = await request.loader()
        finally:
            if loading.get() is flight:  # or it is closed in the context of somebody else
                loading.set(outer)
        value = flight.value = checked_result(request.key, loaded)
        flight.land()
        if flight.lease is not None:
            await _fill(cache, flight.lease, value, request.ttl)
        return value


def _part_of() -> Flight | None:
    """The innermost load that is running and that this code is a part of."""
    flight = loading.get()
    while flight is not None and flight.landed:
        flight = flight.parent
    return flight


async def _wait(flight: Flight, key: Any, seconds: float) -> None:
    """Until the flight has landed, unless it waits, directly or by others, for this very load.

    Raises:
        CacheDeadlockError: It does.
        CacheWaitTimeoutError: It has not landed in so many seconds.
    """
    mine = _part_of()
    if mine is not None:
        if _is_mine(flight):
            raise CacheDeadlockError(key)
        mine.ahead.append(flight)
    try:
        with anyio.move_on_after(seconds):
            await flight.wait()
    finally:
        if mine is not None:
            mine.ahead.remove(flight)
    if not flight.landed:
        raise CacheWaitTimeoutError(key, seconds)


def _is_mine(start: Flight) -> bool:
    """Whether a flight waits, by whatever way, for the load that this code is a part of."""
    goal = _part_of()
    seen: set[int] = set()
    todo = [start]
    while todo:
        flight = todo.pop()
        if flight is goal:
            return True
        if id(flight) not in seen:
            seen.add(id(flight))
            todo += flight.ahead
    return False


async def _joinable(cache: CacheBackend, flight: Flight) -> bool:
    """Whether the load is at least as fresh as one that begins now."""
    if not flight.begun:
        return True
    lease = flight.lease
    if lease is None or lease.closed or not lease.holds:
        return False
    return cache.local or await cache.holds(lease)


async def _begin(cache: CacheBackend, flight: Flight, request: LoadRequest, *, look: bool) -> Any:
    """Take the lease; what the cache holds by now, or MISSING."""
    try:
        flight.lease = await cache.lease(request.key, tags=request.tags)
        flight.begun = True
        return await cache.arm(flight.lease, look=look, type_hint=request.type_hint)
    except Exception:
        flight.begun = True
        logger.warning("a load goes on without its cache, which failed", exc_info=True)
    return MISSING


async def _fill(cache: CacheBackend, lease: Lease, value: Any, ttl: float | None) -> None:
    try:
        await cache.fill(lease, value, ttl=ttl)
    except Exception:
        logger.warning("a loaded value was not stored: the cache failed", exc_info=True)


async def _release(cache: CacheBackend, lease: Lease) -> None:
    with anyio.CancelScope(shield=True):
        try:
            await cache.release(lease)
        except Exception:
            logger.warning("a lease was not given back: the cache failed", exc_info=True)
