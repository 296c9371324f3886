"""The interface of every cache, and what all of them do alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self, runtime_checkable

from varco_cache._background import Background, Job
from varco_cache._checks import checked_seconds, checked_ttl
from varco_cache._entry import MISSING, CacheEntry, CacheStats
from varco_cache._errors import CacheUsageError
from varco_cache._flight import Flights, LoadRequest
from varco_cache._lease import Lease, LeaseBook
from varco_cache._tags import checked_tags

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from types import TracebackType

    from varco_cache._warming import CacheWarmer


@runtime_checkable
class AsyncCache[K, V](Protocol):
    """What a user of a cache needs of it; every `CacheBackend` fits."""

    async def get(self, key: K, default: Any = None, *, type_hint: Any = None) -> V | Any:
        """The value, or `default` on a miss."""
        ...

    async def set(
        self, key: K, value: V, *, ttl: float | None = None, tags: Iterable[str] = ()
    ) -> None:
        """Store a value."""
        ...

    async def delete(self, key: K) -> None:
        """Forget a key."""
        ...

    async def exists(self, key: K) -> bool:
        """Whether `get` would hit."""
        ...

    async def clear(self) -> None:
        """Forget everything."""
        ...

    async def delete_prefix(self, prefix: str) -> None:
        """Forget every string key that begins with `prefix`."""
        ...


class Views(NamedTuple):
    """What makes views of a cache, which are caches themselves and so stand above this file."""

    adopted: Callable[[Any], CacheBackend]
    guarded: Callable[[CacheBackend], CacheBackend]
    namespaced: Callable[[CacheBackend, str], CacheBackend]


class CacheBackend(ABC):
    """Base of every cache: six operations to implement, the rest stands on them.

    They are `get_entry`, `set`, `delete`, `clear`, `delete_prefix` and `invalidate_tags`. A backend
    that has `get` and `exists` instead of `get_entry` and `invalidate_tags`, and a `set` without
    tags, is supplied with those: its values stay as they are, tags lie beside them in keys of their
    own, and nobody knows how long an entry has left.

    A backend whose `fill` is more than one step that nothing can interleave overrides `lease`,
    `fill`, `release` and `holds`; the others call `self.leases.revoke...` in every write and
    invalidation. `varco_cache.testing.CacheContract` proves either.

    A backend raises a `CacheError` for what it could never do, such as a key or a value that it
    cannot hold; whatever else it raises means that it is down.

    Safe for any number of tasks of one event loop; not for several threads.
    """

    local: bool = False
    """Whether operations are in-process: they neither fail nor wait."""

    reliable: bool = False
    """Whether operations never fail, and wait no longer than a limit of the cache's own."""

    is_whole: ClassVar[bool] = True
    """Whether it has `get_entry` and `invalidate_tags` of its own."""

    shared: bool = False
    """Whether other processes see its entries: then all keys must mean the same in each."""

    knows_ttl: bool = True
    """Whether an entry tells how long it has left."""

    patience: float = 0.0
    """How many seconds `arm` may wait for a load of another process; 0 where nobody else loads."""

    _views: ClassVar[Views]
    leases: LeaseBook
    _background: Background
    _flights: Flights
    _guarded: CacheBackend | None
    _warmers: list[CacheWarmer]
    _view_of: CacheBackend | None = None
    _wait_timeout: float = 300.0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        base = CacheBackend
        cls.is_whole = (
            cls.get_entry is not base.get_entry and cls.invalidate_tags is not base.invalidate_tags
        )

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        """Prepare the shared state, so that a subclass need not call `super().__init__`."""
        if cls.get is CacheBackend.get and cls.get_entry is CacheBackend.get_entry:
            raise CacheUsageError(f"{cls.__qualname__} can read nothing: implement get_entry")
        self = super().__new__(cls)
        self.leases = LeaseBook()
        self._background = Background()
        self._flights = Flights()
        self._guarded = None
        self._warmers = []
        return self

    @property
    def wait_timeout(self) -> float:
        """Seconds that a call waits for the load of another task, then `CacheWaitTimeoutError`.

        300 unless it is set, on the cache or on any view of it; `math.inf` waits to the end.

        A load that waits for itself is told at once (`CacheDeadlockError`) where the code that asks
        is known as a part of it: a task, a task group, `asyncio.to_thread` or `anyio.to_thread`
        that the loader began. A thread of `loop.run_in_executor` or of one's own begins without the
        context, so what it sends back to the loop waits this long. One that runs a loop of its own
        (`asyncio.run`) shares no load: it calls the function again, as without a cache.

        Raises:
            CacheConfigError: What is set is no number of seconds above zero.
        """
        return self._wait_timeout if self._view_of is None else self._view_of.wait_timeout

    @wait_timeout.setter
    def wait_timeout(self, seconds: float) -> None:
        if self._view_of is None:
            self._wait_timeout = checked_seconds(seconds, "wait_timeout")
        else:
            self._view_of.wait_timeout = seconds

    async def get_entry(self, key: Any, *, type_hint: Any = None) -> CacheEntry | None:
        """The value with its remaining time to live and its tags; None on a miss."""
        return await self._views.adopted(self).get_entry(key, type_hint=type_hint)

    @abstractmethod
    async def set(
        self, key: Any, value: Any, *, ttl: float | None = None, tags: Iterable[str] = ()
    ) -> None:
        """Store a value for `ttl` seconds; None means the cache's default, `math.inf` no end."""

    @abstractmethod
    async def delete(self, key: Any) -> None:
        """Forget a key; a load that began before does not bring it back."""

    @abstractmethod
    async def clear(self) -> None:
        """Forget everything."""

    @abstractmethod
    async def delete_prefix(self, prefix: str) -> None:
        """Forget every string key that begins with `prefix`."""

    async def invalidate_tags(self, *tags: str) -> None:
        """Forget everything that was stored with one of these tags."""
        await self._views.adopted(self).invalidate_tags(*tags)

    def peek(self, key: Any) -> Any:  # noqa: ARG002 # the interface; a remote cache has none at hand
        """The value if this process has it at hand, without waiting; else `MISSING`."""
        return MISSING

    async def get(self, key: Any, default: Any = None, *, type_hint: Any = None) -> Any:
        """The value, or `default` on a miss; pass `MISSING` to tell a miss from a cached None."""
        entry = await self.get_entry(key, type_hint=type_hint)
        return default if entry is None else entry.value

    async def exists(self, key: Any) -> bool:
        """Whether `get` would hit."""
        return await self.get_entry(key) is not None

    async def ttl(self, key: Any) -> float | None:
        """Seconds left: `math.inf` for an entry that does not expire, None for a missing one."""
        entry = await self.get_entry(key)
        return None if entry is None else entry.ttl

    async def get_many(self, keys: Iterable[Any], *, type_hint: Any = None) -> dict[Any, Any]:
        """The values of those keys that hit."""
        found: dict[Any, Any] = {}
        whole = self._whole
        for key in keys:
            value = await whole.get(key, MISSING, type_hint=type_hint)
            if value is not MISSING:
                found[key] = value
        return found

    async def get_entries(
        self, keys: Iterable[Any], *, type_hint: Any = None
    ) -> dict[Any, CacheEntry]:
        """The entries of those keys that hit; a backend that can asks for all at once."""
        found: dict[Any, CacheEntry] = {}
        for key in keys:
            entry = await self.get_entry(key, type_hint=type_hint)
            if entry is not None:
                found[key] = entry
        return found

    async def set_many(
        self, items: Mapping[Any, Any], *, ttl: float | None = None, tags: Iterable[str] = ()
    ) -> None:
        """Store several values alike."""
        held, whole = checked_tags(tags), self._whole
        for key, value in items.items():
            await whole.set(key, value, ttl=ttl, tags=held)

    async def delete_many(self, keys: Iterable[Any]) -> None:
        """Forget several keys."""
        for key in keys:
            await self.delete(key)

    async def get_or_set(
        self,
        key: Any,
        loader: Callable[[], Awaitable[Any]],
        *,
        ttl: float | None = None,
        tags: Iterable[str] = (),
        type_hint: Any = None,
    ) -> Any:
        """The cached value, or what `loader` returns: one load however many ask.

        A failure of the loader reaches all who wait for it and is not cached; a failure of the
        cache costs the load. What was invalidated while it was loading is not stored.
        """
        value = self.peek(key)
        if value is MISSING and not self.local:
            value = await self._whole._survive_get(key, type_hint)  # noqa: SLF001 # perhaps itself
        if value is not MISSING:
            return value
        return await self.load(key, loader, ttl=ttl, tags=tags, type_hint=type_hint)

    async def load(
        self,
        key: Any,
        loader: Callable[[], Awaitable[Any]],
        *,
        ttl: float | None = None,
        tags: Iterable[str] = (),
        type_hint: Any = None,
        join: bool = True,
        look: bool = True,
    ) -> Any:
        """`get_or_set` for a key that was just missed.

        With `look=False` the loader runs although there may be a value by now; with `join=False`
        it does not share a load that is running: together, a refresh.
        """
        held = checked_tags(tags) if tags else frozenset[str]()
        request = LoadRequest(key, loader, checked_ttl(ttl), held, type_hint)
        return await self._flights.load(self._whole, request, join=join, look=look)

    def loading(self, key: Any) -> bool:
        """Whether a load of this key is running in this process."""
        return key in self._flights

    async def lease(self, key: Any, *, tags: Iterable[str] = ()) -> Lease:
        """Begin a load of `key`: the right to `fill` it, until it or a tag is invalidated."""
        return self.leases.issue(key, frozenset(tags))

    async def arm(self, lease: Lease, *, look: bool = True, type_hint: Any = None) -> Any:
        """Ready a fresh lease for a load; with `look`, the value if the cache has one by now."""
        if self.local or not look:
            return MISSING
        return await self.get(lease.key, MISSING, type_hint=type_hint)

    async def fill(
        self,
        lease: Lease,
        value: Any,
        *,
        ttl: float | None = None,
        tags: Iterable[str] | None = None,
    ) -> bool:
        """Store what was loaded under a lease unless it was revoked; whether it was stored.

        `tags` replace those of the lease when only the result tells them; then an invalidation
        of whatever tag since the lease was taken revokes it.
        """
        if not self.leases.settle(lease, tags):
            return False
        await self.set(lease.key, value, ttl=ttl, tags=lease.tags if tags is None else tags)
        return True

    async def release(self, lease: Lease) -> None:
        """Give up a lease without filling it."""
        self.leases.close(lease)

    async def holds(self, lease: Lease) -> bool:
        """Whether a fill under this lease would be stored."""
        return lease.holds

    async def invalidate_near(self, keys: Iterable[Any] = (), tags: Iterable[str] = ()) -> None:
        """Forget what this process holds a copy of; a cache elsewhere was told by another."""
        held = checked_tags(tags)
        if self.local:
            await self.delete_many(keys)
            await self.invalidate_tags(*held)
            return
        for key in keys:
            self.leases.revoke(key)
        for tag in held:
            self.leases.tags.invalidate(tag)

    def namespace(self, name: str) -> CacheBackend:
        """A view in which every key is prefixed with `name:`; clearing it clears that part."""
        return self._views.namespaced(self._whole, name)

    def guarded(self) -> CacheBackend:
        """A view that never fails, always the same one; itself when it is `reliable`."""
        if self.reliable:
            return self
        if self._guarded is None:
            self._guarded = self._views.guarded(self._whole)
        return self._guarded

    def stats(self) -> CacheStats:
        """What the cache did and holds."""
        return CacheStats(loads=self._flights.loads, stale=self._flights.stale)

    def served_stale(self) -> None:
        """Count a value that was served beyond its ttl; `cached` does it."""
        self._flights.stale += 1

    def add_warmer(self, warmer: CacheWarmer) -> None:
        """Have `warmer` fill the cache in `start`, before anybody uses it."""
        self._warmers.append(warmer)

    def spawn(self, job: Job) -> bool:
        """Run a job in the background of a started cache; False when nothing would own it."""
        return self._background.spawn(job)

    async def start(self) -> None:
        """Begin background work (on trio only `async with` can) and run the warmers."""
        await self._start(scoped=False)

    async def stop(self) -> None:
        """End background work and wait for it; the cache still answers afterwards."""
        await self._background.close()

    async def __aenter__(self) -> Self:
        try:
            if type(self).start is CacheBackend.start:
                await self._start(scoped=True)
            else:
                await self.start()
        except BaseException:
            await self.stop()  # nobody will leave what was not entered
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def _start(self, *, scoped: bool) -> None:
        if self._background.running:
            return
        await self._background.open(scoped=scoped)
        for warmer in self._warmers:
            await warmer.warm_safely(self)

    @property
    def _whole(self) -> CacheBackend:
        """Itself, with all that a cache has."""
        return self if self.is_whole else self._views.adopted(self)

    async def _survive_get(self, key: Any, type_hint: Any) -> Any:
        try:
            return await self.get(key, MISSING, type_hint=type_hint)
        except Exception:
            if self.reliable:
                raise
            return MISSING
