"""The invalidations that a cache which was away has yet to hear of."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from varco_cache._errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from varco_cache._base import CacheBackend

_CHUNK = 100


class Journal:
    """What to forget in a cache before it may be read again; beyond `limit` items, everything.

    State is protected by never awaiting between reading and changing it; an item that is added
    again while it is being replayed stays.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # Each item with a token of its own: what was added again since is another token.
        self._keys: dict[Any, object] = {}
        self._prefixes: dict[str, object] = {}
        self._tags: dict[str, object] = {}
        self._everything: object | None = None

    def __bool__(self) -> bool:
        return bool(self._keys or self._prefixes or self._tags or self._everything)

    def add_key(self, key: Any) -> None:
        """This key may hold an old value there."""
        self._add(self._keys, key)

    def add_prefix(self, prefix: str) -> None:
        """Keys that begin with this may."""
        self._add(self._prefixes, prefix)

    def add_tag(self, tag: str) -> None:
        """Keys with this tag may."""
        self._add(self._tags, tag)

    def add_everything(self) -> None:
        """Any key may."""
        self._everything = object()
        self._keys.clear()
        self._prefixes.clear()
        self._tags.clear()

    def _add(self, items: dict[Any, object], item: Any) -> None:
        if self._everything is not None:
            self._everything = object()
            return
        items[item] = object()
        if len(self._keys) + len(self._prefixes) + len(self._tags) > self._limit:
            self.add_everything()

    async def replay_some(self, cache: CacheBackend) -> None:
        """Tell the cache a part of it and strike that out; on an error nothing is struck out."""
        if (everything := self._everything) is not None:
            await cache.clear()
            if self._everything is everything:
                self._everything = None
        elif self._keys:
            some = dict(list(self._keys.items())[:_CHUNK])
            try:
                await cache.delete_many(some)
            except CacheError:
                await _delete_possible(cache, some)
            _strike(self._keys, some)
        elif self._tags:
            some = dict(list(self._tags.items())[:_CHUNK])
            await cache.invalidate_tags(*some)
            _strike(self._tags, some)
        elif self._prefixes:
            prefix, token = next(iter(self._prefixes.items()))
            await cache.delete_prefix(prefix)
            _strike(self._prefixes, {prefix: token})


async def _delete_possible(cache: CacheBackend, keys: Iterable[Any]) -> None:
    """A key that the cache cannot hold is not there."""
    for key in keys:
        with suppress(CacheError):
            await cache.delete(key)


def _strike(items: dict[Any, object], done: dict[Any, object]) -> None:
    for item, token in done.items():
        if items.get(item) is token:
            del items[item]
