"""Leases: the right to store what a load produced, lost when its key is invalidated meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from varco_cache._tags import Cells, TagBook, any_dead

if TYPE_CHECKING:
    from collections.abc import Iterable


class Lease:
    """Taken before a load begins; `CacheBackend.fill` stores under it unless it was revoked."""

    __slots__ = ("cells", "closed", "generation", "key", "revoked", "tags")

    def __init__(self, key: Any, tags: frozenset[str], cells: Cells) -> None:
        self.key: Any = key
        self.tags: frozenset[str] = tags
        self.cells: Cells = cells
        self.generation: int = 0
        self.revoked: bool = False
        self.closed: bool = False

    @property
    def holds(self) -> bool:
        """Whether nothing invalidated the key or one of its tags since the lease was taken."""
        return not self.revoked and not any_dead(self.cells)


class LeaseBook:
    """The open leases of one process, by key in the order they were taken.

    State is protected by never awaiting: one event loop owns it. It holds one item per running
    load, so its size is bounded by the loads.
    """

    __slots__ = ("by_key", "tags")

    def __init__(self) -> None:
        self.by_key: dict[Any, list[Lease]] = {}
        """For a cache to look whether there are any; changed only here."""
        self.tags: TagBook = TagBook()

    def __bool__(self) -> bool:
        return bool(self.by_key)

    def issue(self, key: Any, tags: frozenset[str]) -> Lease:
        """A new lease on `key` for a load whose result will carry `tags`."""
        lease = Lease(key, tags, self.tags.acquire(tags))
        self.admit(lease)
        return lease

    def admit(self, lease: Lease) -> None:
        """Enter a lease whose cells were acquired from `tags`."""
        lease.generation = self.tags.generation
        self.by_key.setdefault(lease.key, []).append(lease)

    def close(self, lease: Lease) -> bool:
        """Give the lease back; whether it still held. Closing twice does nothing."""
        if lease.closed:
            return False
        held = lease.holds
        lease.closed = True
        others = self.by_key[lease.key]
        others.remove(lease)
        if not others:
            del self.by_key[lease.key]
        self.tags.release(lease.cells)
        return held

    def abandon(self, lease: Lease) -> None:
        """Close a lease that may be of another book, at once and without a word to the cache."""
        if lease in self.by_key.get(lease.key, ()):
            self.close(lease)
        lease.closed = True

    def settle(self, lease: Lease, late_tags: Iterable[str] | None = None) -> bool:
        """Close a lease whose value is about to be stored: loads begun before it lose theirs.

        For tags that were not known when the lease was taken, any tag counts as invalidated.
        """
        if lease.closed:
            return False
        if late_tags and lease.generation != self.tags.generation:
            lease.revoked = True
        if lease.holds:
            for older in self.by_key[lease.key]:
                if older is lease:
                    break
                older.revoked = True
        return self.close(lease)

    def revoke(self, key: Any) -> None:
        """The key was written or deleted."""
        for lease in self.by_key.get(key, ()):
            lease.revoked = True

    def revoke_prefix(self, prefix: str) -> None:
        """Every string key that begins with `prefix` was deleted."""
        for key, leases in self.by_key.items():
            if isinstance(key, str) and key.startswith(prefix):
                for lease in leases:
                    lease.revoked = True

    def revoke_all(self) -> None:
        """Everything was deleted."""
        for leases in self.by_key.values():
            for lease in leases:
                lease.revoked = True
