"""Single flight: one load per key, however many wait for it and whoever of them is cancelled."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from varco_cache._entry import MISSING
from varco_cache._errors import CacheDeadlockError

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
    """One running load and those who wait for it."""

    __slots__ = ("begun", "error", "landed", "lease", "owner", "traceback", "value", "waiting")

    def __init__(self, owner: int) -> None:
        self.owner = owner
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


class Flights:
    """The running loads of one cache by key.

    State is protected by never awaiting between looking a flight up and registering one. The
    leader loads in its own task, so nobody has to own it; when the leader is cancelled, one of
    those who wait leads a new load.
    """

    __slots__ = ("_by_key", "loads")

    def __init__(self) -> None:
        self._by_key: dict[Any, Flight] = {}
        self.loads = 0

    def __contains__(self, key: object) -> bool:
        return key in self._by_key

    async def load(
        self, cache: CacheBackend, request: LoadRequest, *, join: bool, look: bool
    ) -> Any:
        """What the loader returns, stored in `cache` unless it was invalidated meanwhile.

        With `join`, a load that runs already and was not overtaken by an invalidation is shared;
        with `look`, a cache that may have been filled since the miss is asked once more.
        """
        key = request.key
        while True:
            flight = self._by_key.get(key) if join else None
            if flight is not None and not await _joinable(cache, flight):
                if self._by_key.get(key) is not flight:
                    continue  # while the cache was asked, another one began a newer load
                flight = None
            if flight is None:
                return await self._lead(cache, request, look=look)
            if not flight.landed:
                await _wait(flight, key)
            if flight.error is not None:
                # The leader's traceback, or each of a thousand who wait would lengthen it.
                raise flight.error.with_traceback(flight.traceback)
            if flight.value is not MISSING:
                return flight.value

    async def _lead(self, cache: CacheBackend, request: LoadRequest, *, look: bool) -> Any:
        key = request.key
        flight = Flight(anyio.get_current_task().id)
        self._by_key[key] = flight
        try:
            flight.value = await _begin(cache, flight, request, look=look)
            if flight.value is not MISSING:
                return flight.value
            self.loads += 1
            flight.value = await request.loader()
            flight.land()
            if flight.lease is not None:
                await _fill(cache, flight.lease, flight.value, request.ttl)
        except Exception as error:
            flight.error = error
            flight.traceback = error.__traceback__
            raise
        finally:
            if not flight.landed:
                flight.land()
            if self._by_key.get(key) is flight:
                del self._by_key[key]
            if flight.lease is not None and not flight.lease.closed:
                await _release(cache, flight.lease)
        return flight.value


# Who waits for which flight, by task, of all caches: a loader may ask another cache. A task is here
# only while it waits, and nothing awaits between looking and entering.
_waits: dict[int, Flight] = {}


async def _wait(flight: Flight, key: Any) -> None:
    """Until the flight has landed, unless it waits, directly or by others, for this very task."""
    me = anyio.get_current_task().id
    ahead: Flight | None = flight
    while ahead is not None:
        if ahead.owner == me:
            raise CacheDeadlockError(key)
        ahead = _waits.get(ahead.owner)
    _waits[me] = flight
    try:
        await flight.wait()
    finally:
        del _waits[me]


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
