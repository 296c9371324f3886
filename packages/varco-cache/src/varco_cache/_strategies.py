"""Invalidation strategies: handles by which code outside a cache makes it forget.

A strategy keeps no list of what it invalidated: it tells the caches it is bound to, at once. So
its state does not grow, and a key that was invalidated can be set again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from weakref import WeakSet

from varco_cache._checks import checked_ttl
from varco_cache._errors import CacheConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable


@runtime_checkable
class InvalidationTarget(Protocol):
    """What a strategy tells to forget; an `InMemoryCache` is one. Nothing here waits."""

    def drop(self, key: Any) -> None:
        """Forget a key."""
        ...

    def drop_prefix(self, prefix: str) -> None:
        """Forget every string key that begins with `prefix`."""
        ...

    def drop_tags(self, tags: Iterable[str]) -> None:
        """Forget what carries one of these tags."""
        ...

    def add_tags(self, key: Any, tags: Iterable[str]) -> None:
        """Have a stored entry carry these tags as well."""
        ...


class InvalidationStrategy:
    """Base of the strategies; override `should_invalidate` for a rule that is asked on every hit.

    One strategy may serve several caches. It must be used on the event loop of its caches.
    """

    def __init__(self) -> None:
        # Weak: a strategy that outlives a cache does not keep it.
        self._targets: WeakSet[Any] = WeakSet()

    async def start(self) -> None:
        """Called when a cache that uses it starts."""

    async def stop(self) -> None:
        """Called when a cache that uses it stops."""

    def bind(self, target: InvalidationTarget) -> None:
        """Serve this cache too; a cache calls it for the strategy it is given.

        Raises:
            CacheConfigError: It is no cache that a strategy can tell to forget.
        """
        given: object = target  # of untyped callers
        if not isinstance(given, InvalidationTarget):  # pyright: ignore[reportUnnecessaryIsInstance] # untyped callers
            remedy = "a strategy serves an InMemoryCache; give it to that layer"
            raise CacheConfigError("target", target, remedy)
        self.targets.add(target)

    def forget(self, keys: Iterable[Any] = (), tags: Iterable[str] = ()) -> None:
        """Forget keys, and what carries one of the tags; values set afterwards are served."""
        held = tuple(tags)
        for target in self.targets:
            for key in keys:
                target.drop(key)
            if held:
                target.drop_tags(held)

    @property
    def targets(self) -> WeakSet[Any]:
        """The caches it serves."""
        if not hasattr(self, "_targets"):  # a subclass that did not call super().__init__
            self._targets = WeakSet()
        return self._targets

    @property
    def default_ttl(self) -> float | None:
        """The time to live of entries that are stored without one; None for no end."""
        return None

    def should_invalidate(self, key: Any, metadata: dict[str, Any]) -> bool:  # noqa: ARG002 # for overriding
        """Whether the entry must not be served; `metadata` holds value, tags and ttl left."""
        return False


class TTLStrategy(InvalidationStrategy):
    """Gives entries that are set without a `ttl` one of `default_ttl` seconds."""

    def __init__(self, default_ttl: float | None = None) -> None:
        super().__init__()
        self._default_ttl = checked_ttl(default_ttl, "default_ttl")

    @property
    def default_ttl(self) -> float | None:
        """Seconds; None for no end."""
        return self._default_ttl


class ExplicitStrategy(InvalidationStrategy):
    """Forgets keys on demand."""

    def invalidate(self, key: Any) -> None:
        """Forget a key; a value set afterwards is served."""
        self.forget((key,))

    def invalidate_many(self, keys: Iterable[Any]) -> None:
        """Forget several keys."""
        for key in keys:
            self.invalidate(key)

    def clear_invalidated(self, key: Any) -> None:
        """Nothing, since no key stays invalidated: the next value set is served."""

    def reset(self) -> None:
        """Nothing, likewise."""

    def invalidate_prefix(self, prefix: str) -> None:
        """Forget every string key that begins with `prefix`."""
        for target in self.targets:
            target.drop_prefix(prefix)


class TaggedStrategy(InvalidationStrategy):
    """Forgets by tag on demand, at the same cost however many entries carry the tag."""

    def invalidate_tag(self, tag: str) -> None:
        """Forget what carries the tag; a value set afterwards is served."""
        self.invalidate_tags((tag,))

    def register_tags(self, key: Any, tags: Iterable[str]) -> None:
        """Have a stored entry carry these tags as well."""
        held = tuple(tags)
        for target in self.targets:
            target.add_tags(key, held)

    def clear_tag(self, tag: str) -> None:
        """Nothing, since no tag stays invalidated: the next value set with it is served."""

    def reset(self) -> None:
        """Nothing, likewise."""

    def invalidate_tags(self, tags: Iterable[str]) -> None:
        """Forget what carries one of the tags."""
        self.forget(tags=tags)


class CompositeStrategy(InvalidationStrategy):
    """Several strategies as one; the first default time to live counts."""

    def __init__(self, *strategies: InvalidationStrategy) -> None:
        super().__init__()
        self._strategies = strategies

    @property
    def strategies(self) -> tuple[InvalidationStrategy, ...]:
        """Those given, in order."""
        return self._strategies

    @property
    def default_ttl(self) -> float | None:
        """The first one that a member has."""
        return next((s.default_ttl for s in self._strategies if s.default_ttl is not None), None)

    async def start(self) -> None:
        """Start each."""
        for strategy in self._strategies:
            await strategy.start()

    async def stop(self) -> None:
        """Stop each."""
        for strategy in self._strategies:
            await strategy.stop()

    def bind(self, target: InvalidationTarget) -> None:
        """Bind each."""
        super().bind(target)
        for strategy in self._strategies:
            strategy.bind(target)

    def should_invalidate(self, key: Any, metadata: dict[str, Any]) -> bool:
        """Whether one of them says so."""
        return any(strategy.should_invalidate(key, metadata) for strategy in self._strategies)


def asks_on_hit(strategy: InvalidationStrategy) -> bool:
    """Whether it, or a part of it, has a rule of its own to ask on every hit."""
    if isinstance(strategy, CompositeStrategy):
        return any(asks_on_hit(one) for one in strategy.strategies)
    return type(strategy).should_invalidate is not InvalidationStrategy.should_invalidate
