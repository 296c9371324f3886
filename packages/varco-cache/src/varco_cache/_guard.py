"""A cache that may fail or hang, made safe to lean on."""

from __future__ import annotations

import logging
import time
from functools import partial
from itertools import batched
from typing import TYPE_CHECKING, Any

import anyio

from varco_cache._base import CacheBackend
from varco_cache._checks import checked_seconds
from varco_cache._entry import MISSING, CacheEntry, CacheStats
from varco_cache._errors import CacheError
from varco_cache._journal import Journal
from varco_cache._lease import Lease, LeaseBook
from varco_cache._renaming import takes_time_limit
from varco_cache._tags import checked_tags

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from varco_cache._background import Job

logger = logging.getLogger("varco_cache")

TIMEOUT = 0.5
RETRY_AFTER = 5.0
_FAILURES = 3
_JOURNAL = 10_000
_CHUNK = 500


class _Failed:
    """The type of `_FAILED`: the guarded cache gave no answer."""


_FAILED = _Failed()


class GuardedLease(Lease):
    """A lease here and, if the guarded cache answered, one there."""

    __slots__ = ("inner",)

    inner: Lease | None


class GuardedCache(CacheBackend):
    """A view of a cache that never fails, and waits at most `timeout` seconds for it.

    Only a `CacheError` is raised: what was asked for is impossible, whether the cache is up or not.

    After three failures in a row it is left alone for `retry_after` seconds, then one call tries
    it again. What could not be deleted or overwritten in it is remembered and deleted before the
    next read; until then reads miss. Another process that still reaches the cache does not know
    of these deletions, and they are lost with this process: entries there live on to their ttl.

    A `set` may take effect at any moment until it returns, so also after a write or invalidation
    that began later and returned earlier; `LayeredCache` has the writes of one key take turns.

    State is protected by never awaiting between a decision and the change that follows from it.
    """

    reliable: bool = True

    @takes_time_limit
    def __init__(
        self,
        cache: CacheBackend,
        *,
        timeout: float = TIMEOUT,
        retry_after: float = RETRY_AFTER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout = checked_seconds(timeout, "timeout")
        self._retry_after = checked_seconds(retry_after, "retry_after")
        self.cache: CacheBackend = self._views.adopted(cache)
        self._view_of = self.cache
        self.shared: bool = self.cache.shared  # a view is what lies beneath it
        self.knows_ttl: bool = self.cache.knows_ttl  # likewise
        self.patience: float = self.cache.patience  # likewise
        self.journal: Journal = Journal(_JOURNAL)
        self._clock = clock
        self._failures = 0
        self._retry_at = 0.0
        self._errors = 0
        self._replaying = False
        self._unstarted = False

    def peek(self, key: Any) -> Any:
        """The value if the cache has it at hand in this process."""
        return self.cache.peek(key)

    async def get_entry(self, key: Any, *, type_hint: Any = None) -> CacheEntry | None:
        """The entry; None as well when the cache did not answer."""
        if not await self._readable():
            return None
        found = await self._ask(lambda: self.cache.get_entry(key, type_hint=type_hint))
        return None if isinstance(found, _Failed) else found

    async def get(self, key: Any, default: Any = None, *, type_hint: Any = None) -> Any:
        """The value; `default` as well when the cache did not answer."""
        if not await self._readable():
            return default
        found = await self._ask(lambda: self.cache.get(key, default, type_hint=type_hint))
        return default if isinstance(found, _Failed) else found

    async def get_many(self, keys: Iterable[Any], *, type_hint: Any = None) -> dict[Any, Any]:
        """The values of those keys that hit."""
        return await self._get_chunks(keys, self.cache.get_many, type_hint)

    async def get_entries(
        self, keys: Iterable[Any], *, type_hint: Any = None
    ) -> dict[Any, CacheEntry]:
        """The entries of those keys that hit."""
        return await self._get_chunks(keys, self.cache.get_entries, type_hint)

    async def set(
        self, key: Any, value: Any, *, ttl: float | None = None, tags: Iterable[str] = ()
    ) -> None:
        """Store a value, or remember that the cache holds an old one."""
        await self.try_set(key, value, ttl=ttl, tags=tags)

    async def try_set(
        self, key: Any, value: Any, *, ttl: float | None = None, tags: Iterable[str] = ()
    ) -> bool:
        """`set`; whether the cache has it."""
        return await self._write(
            lambda: self.cache.set(key, value, ttl=ttl, tags=tags),
            lambda: self.journal.add_key(key),
            lambda leases: leases.revoke(key),
        )

    async def set_many(
        self, items: Mapping[Any, Any], *, ttl: float | None = None, tags: Iterable[str] = ()
    ) -> None:
        """Store several values alike."""
        await self.try_set_many(items, ttl=ttl, tags=tags)

    async def try_set_many(
        self, items: Mapping[Any, Any], *, ttl: float | None = None, tags: Iterable[str] = ()
    ) -> bool:
        """`set_many`; whether the cache has them all."""
        held = checked_tags(tags)

        async def store(keys: Iterable[Any]) -> None:
            some = {key: items[key] for key in keys}
            await self.cache.set_many(some, ttl=ttl, tags=held)

        return await self._write_chunks(items, store)

    async def delete(self, key: Any) -> None:
        """Forget a key, now or before the cache is read again."""
        await self._write(
            lambda: self.cache.delete(key),
            lambda: self.journal.add_key(key),
            lambda leases: leases.revoke(key),
        )

    async def delete_many(self, keys: Iterable[Any]) -> None:
        """Forget several keys."""
        await self._write_chunks(list(keys), self.cache.delete_many)

    async def clear(self) -> None:
        """Forget everything, now or before the cache is read again."""
        await self._write(self.cache.clear, self.journal.add_everything, LeaseBook.revoke_all)

    async def delete_prefix(self, prefix: str) -> None:
        """Forget by prefix, now or before the cache is read again."""
        await self._write(
            lambda: self.cache.delete_prefix(prefix),
            lambda: self.journal.add_prefix(prefix),
            lambda leases: leases.revoke_prefix(prefix),
        )

    async def invalidate_tags(self, *tags: str) -> None:
        """Forget by tag, now or before the cache is read again."""
        held = checked_tags(tags)

        def remember() -> None:
            for tag in held:
                self.journal.add_tag(tag)

        def revoke(leases: LeaseBook) -> None:
            for tag in held:
                leases.tags.invalidate(tag)

        await self._write(lambda: self.cache.invalidate_tags(*held), remember, revoke)

    async def lease(self, key: Any, *, tags: Iterable[str] = ()) -> Lease:
        """Begin a load; without an answer of the cache its result will not be stored there."""
        held = frozenset(tags)
        lease = GuardedLease(key, held, self.leases.tags.acquire(held))
        lease.inner = None
        self.leases.admit(lease)
        if await self._readable():
            inner = await self._ask(lambda: self.cache.lease(key, tags=held))
            lease.inner = None if isinstance(inner, _Failed) else inner
        return lease

    async def arm(self, lease: Lease, *, look: bool = True, type_hint: Any = None) -> Any:
        """Ready a lease; the value, if the cache has one by now and answers."""
        assert isinstance(lease, GuardedLease)  # noqa: S101 # what `lease` returned
        inner = lease.inner
        if inner is None or not await self._readable():
            return MISSING
        found = await self._ask(
            lambda: self.cache.arm(inner, look=look, type_hint=type_hint),
            patience=self.cache.patience,
        )
        return MISSING if isinstance(found, _Failed) else found

    async def fill(
        self,
        lease: Lease,
        value: Any,
        *,
        ttl: float | None = None,
        tags: Iterable[str] | None = None,
    ) -> bool:
        """Store what was loaded; a lease that the cache refuses is revoked."""
        assert isinstance(lease, GuardedLease)  # noqa: S101 # what `lease` returned
        if not self.leases.settle(lease, tags):
            return False
        inner, lease.inner = lease.inner, None
        if inner is None or self.journal:
            return False
        try:
            stored = await self._ask(lambda: self.cache.fill(inner, value, ttl=ttl, tags=tags))
        except CacheError:
            raise
        except BaseException:
            self.journal.add_key(lease.key)
            raise
        if isinstance(stored, _Failed):
            # It may still arrive; what is deleted meanwhile must not be found there.
            self.journal.add_key(lease.key)
            return False
        lease.revoked = not stored
        return stored

    async def release(self, lease: Lease) -> None:
        """Give up a lease."""
        assert isinstance(lease, GuardedLease)  # noqa: S101 # what `lease` returned
        self.leases.close(lease)
        inner, lease.inner = lease.inner, None
        if inner is not None:
            await self._ask(lambda: self.cache.release(inner))

    async def holds(self, lease: Lease) -> bool:
        """Whether a fill would be stored, as far as can be known."""
        assert isinstance(lease, GuardedLease)  # noqa: S101 # what `lease` returned
        inner = lease.inner
        if not lease.holds or inner is None:
            return lease.holds
        return await self._ask(lambda: self.cache.holds(inner)) is True

    async def invalidate_near(self, keys: Iterable[Any] = (), tags: Iterable[str] = ()) -> None:
        """Overtake the loads of this process."""
        some, held = list(keys), checked_tags(tags)
        await self.cache.invalidate_near(some, held)
        await super().invalidate_near(some, held)

    def stats(self) -> CacheStats:
        """Of the guarded cache, with the failures seen here."""
        beneath = self.cache.stats()
        return CacheStats(
            hits=beneath.hits,
            misses=beneath.misses,
            sets=beneath.sets,
            loads=self._flights.loads,
            stale=self._flights.stale,
            evictions=beneath.evictions,
            expirations=beneath.expirations,
            errors=self._errors + beneath.errors,
            entries=beneath.entries,
            size_bytes=beneath.size_bytes,
        )

    def guarded(self) -> CacheBackend:
        """Itself."""
        return self

    def spawn(self, job: Job) -> bool:
        """In the background of the guarded cache."""
        return self.cache.spawn(job)

    async def start(self) -> None:
        """Start the guarded cache; if it cannot be, it is tried again when it is needed."""
        self._unstarted = isinstance(await self._ask(self.cache.start), _Failed)

    async def stop(self) -> None:
        """Stop the guarded cache."""
        try:
            await self.cache.stop()
        except Exception:
            logger.warning("a cache failed to stop", exc_info=True)

    async def _ask[T](
        self, call: Callable[[], Awaitable[T]], *, patience: float = 0.0
    ) -> T | _Failed:
        """The answer within the time limit and `patience`, unless the cache is left alone."""
        if self._failures >= _FAILURES:
            now = self._clock()
            if now < self._retry_at:
                return _FAILED
            self._retry_at = now + self._retry_after
        try:
            with anyio.fail_after(self._timeout + patience):
                answer = await call()
        except CacheError:
            raise
        except Exception as error:  # noqa: BLE001 # whatever a client raises means down
            self._errors += 1
            self._failures += 1
            if self._failures >= _FAILURES:
                self._retry_at = self._clock() + self._retry_after
            if self._failures == _FAILURES:
                logger.warning("left alone for %s s: %r", self._retry_after, error)
            return _FAILED
        self._failures = 0
        return answer

    async def _readable(self) -> bool:
        """Whether the cache knows all that was deleted; it is told first."""
        if self._unstarted:
            await self.start()
            if self._unstarted:
                return False
        if not self.journal:
            return True
        if self._replaying:
            return False
        self._replaying = True
        try:
            until = self._clock() + self._timeout
            while self.journal and self._clock() < until:
                answer = await self._ask(lambda: self.journal.replay_some(self.cache))
                if isinstance(answer, _Failed):
                    return False
        finally:
            self._replaying = False
        return not self.journal

    async def _get_chunks(
        self, keys: Iterable[Any], get: Callable[..., Awaitable[dict[Any, Any]]], type_hint: Any
    ) -> dict[Any, Any]:
        """What `get` finds, asked for so many keys at once that the time limit is fair."""
        found: dict[Any, Any] = {}
        for some in batched(keys, _CHUNK):
            if not await self._readable():
                break
            answer = await self._ask(partial(get, some, type_hint=type_hint))
            if isinstance(answer, _Failed):
                break
            found |= answer
        return found

    async def _write_chunks(
        self, keys: Iterable[Any], act: Callable[[Sequence[Any]], Awaitable[None]]
    ) -> bool:
        """Likewise for writes; whether the cache did all of them."""
        done = True
        for some in batched(keys, _CHUNK):
            # Not cut short by a failure: every key is written, or remembered.
            done &= await self._write(
                partial(act, some), partial(self._remember, some), partial(_revoke, some)
            )
        return done

    def _remember(self, keys: Iterable[Any]) -> None:
        for key in keys:
            self.journal.add_key(key)

    async def _write(
        self,
        call: Callable[[], Awaitable[None]],
        remember: Callable[[], None],
        revoke: Callable[[LeaseBook], None],
    ) -> bool:
        """Do it, or remember to; whether the cache did. Running loads are overtaken either way."""
        done = False
        try:
            if await self._readable():
                done = not isinstance(await self._ask(call), _Failed)
        except CacheError:
            done = True  # nothing was changed that would have to be undone
            raise
        finally:
            if not done:
                remember()
            revoke(self.leases)
        return done


def _revoke(keys: Iterable[Any], leases: LeaseBook) -> None:
    for key in keys:
        leases.revoke(key)
