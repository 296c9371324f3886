"""Services that remember what they read; needs varco-domain."""

from __future__ import annotations

import importlib.util
from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, cast

import anyio
from providify import Inject, InjectMeta, LazyProxy, LiveProxy

from varco_cache._backend import CacheBackend, adopted, is_cache
from varco_cache._channel import INVALIDATION_CHANNEL
from varco_cache._checks import checked_ttl
from varco_cache._errors import CacheConfigError, CacheUsageError
from varco_cache._read_keys import ReadKey, list_key, reads_in_its_own_way, row_key, tags_of
from varco_domain.auth import ANONYMOUS, AuthContext
from varco_domain.dto import PagedReadDTO
from varco_domain.service.base import AsyncService
from varco_domain.service.mixin import PK, C, D, R, ServiceMixin, U
from varco_query import QueryParams

if TYPE_CHECKING:
    import builtins
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from varco_domain.assembler import AbstractDTOAssembler
    from varco_domain.auth import AbstractAuthorizer
    from varco_domain.providers import IUoWProvider
    from varco_domain.service.types import EntityChange
    from varco_domain.uow import AsyncUnitOfWork
    from varco_events import AbstractEventBus

_EVERYTHING = QueryParams()


class ServiceCache:
    """Reads and invalidations of one service on one cache, and on the bus that joins processes."""

    def __init__(
        self,
        cache: CacheBackend,
        namespace: str,
        ttl: float | None,
        bus: Any,
        channel: str,
        *,
        producer: Any = None,
        follow: bool = True,
    ) -> None:
        self.cache = adopted(cache).guarded()
        self.namespace = namespace
        self._ttl = checked_ttl(ttl, "_cache_ttl")
        self._channel = channel
        # How an event goes out: a producer that is given, or else the bus.
        self._publish = None if bus is None else bus.publish
        if producer is not None:
            self._publish = producer.produce
        if bus is not None and follow:
            from varco_cache import _invalidated  # noqa: PLC0415 # behind an extra

            _invalidated.follow(bus, self.cache, channel)

    async def read(
        self, key: ReadKey | None, load: Callable[[], Awaitable[Any]], type_hint: Any
    ) -> Any:
        """The remembered answer or a new one; a copy, so that no caller changes another's."""
        if key is None:
            return await load()
        answer = await self.cache.get_or_set(
            key.key, load, ttl=self._ttl, tags=key.tags, type_hint=type_hint
        )
        return _copy(answer)

    async def forget(self, tags: Iterable[str], operation: str) -> None:
        """Invalidate here and tell the others, although the caller may be cancelled."""
        held = sorted(tags)
        with anyio.CancelScope(shield=True):
            await self.cache.invalidate_tags(*held)
            if self._publish is not None:
                from varco_cache import _invalidated  # noqa: PLC0415 # behind an extra

                event = _invalidated.CacheInvalidated(
                    tags=held, namespace=self.namespace, operation=operation
                )
                await _invalidated.announce(self._publish, event, self._channel)


def _list_of(service: Any) -> Any:
    row: Any = service.types.read
    return list[row]


def _copy(answer: Any) -> Any:
    if isinstance(answer, list):
        rows: list[Any] = answer  # pyright: ignore[reportUnknownVariableType] # narrowed from Any
        return [_copy(one) for one in rows]
    copy = getattr(answer, "model_copy", None)
    return answer if copy is None else copy(deep=True)


class CacheServiceMixin(ServiceMixin[D, PK, C, R, U], Generic[D, PK, C, R, U]):  # noqa: UP046 # they have defaults
    """Remembers what `get` and `list` return. Put it first among the bases.

    What a caller may see is worked out for every call and is part of the key, with the tenant and
    the arguments: nobody is answered with what another may see. Every write of the service, bulk
    writes included, invalidates the rows it changed and all lists, before it returns. Reads whose
    authorizer has to be asked about each row are not remembered.

    Safe for any number of tasks of one event loop.
    """

    _cache: ClassVar[Inject[CacheBackend]]
    _cache_namespace: ClassVar[str] = ""
    """The beginning of its keys; by default the name of the class."""
    _cache_ttl: ClassVar[float | None] = None
    """Seconds; None for the default of the cache."""
    _cache_bus_channel: ClassVar[str] = INVALIDATION_CHANNEL
    _service_cache: ServiceCache | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        construct: Any = cls.__init__

        @wraps(construct)
        def __init__(  # noqa: N807 # it becomes one
            self: Any, *args: Any, cache: Any = None, bus: Any = None, **others: Any
        ) -> None:
            if cache is not None:
                self._cache = cache
            if bus is not None:
                self._cache_bus = bus
            construct(self, *args, **others)
            checked_ttl(self._cache_ttl, "_cache_ttl")
            # A container sets what it injects after this; then the first use looks.
            if type(self) is cls and not hasattr(cls, "__di_metadata__"):
                given = getattr(self, "_cache", None)
                if not isinstance(given, LiveProxy | LazyProxy) and not is_cache(given):
                    raise _no_cache(self, given)

        own = signature(construct).parameters
        if "cache" not in own and "bus" not in own:
            # Assigned by name: with two parameters more, it is no override to a type checker.
            setattr(cls, "__init__", __init__)  # noqa: B010

    if TYPE_CHECKING:
        # What the reads return is said by the AsyncService[...] beside the mixin.
        def __init__(
            self,
            uow_provider: IUoWProvider,
            authorizer: AbstractAuthorizer,
            assembler: AbstractDTOAssembler[Any, Any, Any, Any] | None = None,
            producer: Any = None,
            *,
            cache: CacheBackend | None = None,
            bus: Any = None,
            **parts: Any,
        ) -> None: ...

    else:

        async def get(self, pk: PK, ctx: AuthContext = ANONYMOUS) -> R:
            """One entity, perhaps from the cache."""
            return await _one(self, await self._remembering(), super().get, pk, ctx)

        async def list(
            self, params: QueryParams = _EVERYTHING, ctx: AuthContext = ANONYMOUS
        ) -> builtins.list[R]:
            """The entities that a query selects, perhaps from the cache."""
            return await _many(self, await self._remembering(), super().list, params, ctx)

        async def paged_list(
            self,
            params: QueryParams = _EVERYTHING,
            ctx: AuthContext = ANONYMOUS,
            *,
            raw_query: str | None = None,
            total: bool | int = False,
        ) -> PagedReadDTO[R]:
            """A page and the way to its neighbours, perhaps from the cache."""
            cache, load = await self._remembering(), super().paged_list
            return await _page(self, cache, load, params, ctx, raw_query=raw_query, total=total)

    async def _after_write(
        self, uow: AsyncUnitOfWork, ctx: AuthContext, changes: Sequence[EntityChange]
    ) -> None:
        """See, before the commit, that there is a cache to be told of it."""
        await self._remembering()
        await super()._after_write(uow, ctx, changes)

    async def _after_commit(self, ctx: AuthContext, changes: Sequence[EntityChange]) -> None:
        """Forget what the changes made old."""
        cache = await self._remembering()
        await cache.forget(tags_of(cache.namespace, changes), changes[0].kind)
        await super()._after_commit(ctx, changes)

    async def _remembering(self) -> ServiceCache:
        given = getattr(self, "_cache", None)
        cache = await _resolved(given)
        if not is_cache(cache):
            raise _no_cache(self, cache)
        cache = adopted(cache)
        known = self._service_cache
        if known is None or known.cache is not cache.guarded():
            bus = await _resolved(getattr(self, "_cache_bus", None))
            known = self._service_cache = ServiceCache(
                cache,
                self._cache_namespace or type(self).__qualname__,
                self._cache_ttl,
                bus,
                self._cache_bus_channel,
                # A cache of a request goes before a subscription would.
                follow=not isinstance(given, LiveProxy),
            )
        return known


if importlib.util.find_spec("varco_events") is not None:
    from varco_events import AbstractEventBus

    # Only with the extra is there a type to inject; without it the attribute is not there.
    CacheServiceMixin.__annotations__["_cache_bus"] = ClassVar[
        Annotated[AbstractEventBus | None, InjectMeta(optional=True)]
    ]
    CacheServiceMixin._cache_bus = None  # type: ignore[attr-defined]  # noqa: SLF001


def _no_cache(service: object, given: object) -> CacheConfigError:
    return CacheConfigError(
        f"{type(service).__name__}._cache",
        given,
        "pass cache= to the constructor, set it on the class, or bind CacheBackend in a container",
    )


async def _one(
    service: Any,
    cache: ServiceCache,
    load: Callable[..., Awaitable[Any]],
    pk: Any,
    ctx: AuthContext,
) -> Any:
    personal = reads_in_its_own_way(service, load)
    key = row_key(service, cache.namespace, pk, ctx, personal=personal)
    return await cache.read(key, lambda: load(pk, ctx), service.types.read)


async def _many(
    service: Any,
    cache: ServiceCache,
    load: Callable[..., Awaitable[Any]],
    params: QueryParams,
    ctx: AuthContext,
) -> Any:
    personal = reads_in_its_own_way(service, load)
    key = list_key(service, cache.namespace, params, ctx, personal=personal)
    return await cache.read(key, lambda: load(params, ctx), _list_of(service))


async def _page(
    service: Any,
    cache: ServiceCache,
    load: Callable[..., Awaitable[Any]],
    params: QueryParams,
    ctx: AuthContext,
    *,
    raw_query: str | None,
    total: bool | int,
) -> Any:
    personal = reads_in_its_own_way(service, load)
    # What the links and the total of the page are made of is a part of the answer.
    operation = f"page {total!r} {raw_query!r}"
    key = list_key(service, cache.namespace, params, ctx, personal=personal, operation=operation)
    hint: Any = PagedReadDTO[service.types.read]
    return await cache.read(key, lambda: load(params, ctx, raw_query=raw_query, total=total), hint)


async def _resolved(given: Any) -> Any:
    if isinstance(given, LiveProxy | LazyProxy):
        return await cast("Any", given).aget()
    return given


class CachedService:
    """Wraps a service and remembers what `get` and `list` return; see `CacheServiceMixin`.

    It hears of every write of the wrapped service instance, made through it or directly.
    Everything else of the service is reached as it is.
    """

    def __init__(
        self,
        service: Any,
        cache: CacheBackend,
        *,
        namespace: str,
        entity_type: type | None = None,
        default_ttl: float | None = None,
        producer: Any = None,
        bus: Any = None,
        bus_channel: str = INVALIDATION_CHANNEL,
    ) -> None:
        """Wrap an `AsyncService`.

        Args:
            service: What is wrapped.
            cache: Where answers are kept.
            namespace: The beginning of its keys.
            entity_type: The model of the service, which knows it; checked when it is given.
            default_ttl: Seconds; None for the default of the cache.
            producer: Publishes what was invalidated (needs `[events]`); `bus` does so as well.
            bus: An event bus on which other processes tell what they invalidated, and are told.
            bus_channel: Where on the bus.

        Raises:
            CacheUsageError: It is something else, which cannot say what a caller may see.
            CacheConfigError: It is a service of another model than `entity_type`.
        """
        if not isinstance(service, AsyncService):
            raise CacheUsageError(
                f"CachedService wraps an AsyncService, which knows what each caller may see, "
                f"not {type(service).__name__}; cache its methods with @cached"
            )
        self._service: AsyncService[Any, Any, Any, Any, Any] = service
        types = self._service.types
        if types is None:
            raise CacheUsageError(f"{type(self._service).__name__} serves no model")
        own = types.entity_cls
        if entity_type is not None and entity_type is not own:
            raise CacheConfigError("entity_type", entity_type, f"the service serves {own.__name__}")
        self._remembered = ServiceCache(
            cache, namespace, default_ttl, bus, bus_channel, producer=producer
        )
        self._service.observe(self._forget)

    async def _forget(self, _ctx: AuthContext, changes: Sequence[EntityChange]) -> None:
        tags = tags_of(self._remembered.namespace, changes)
        await self._remembered.forget(tags, changes[0].kind)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._service, name)

    async def get(self, pk: Any, ctx: AuthContext = ANONYMOUS) -> Any:
        """One entity, perhaps from the cache."""
        return await _one(self._service, self._remembered, self._service.get, pk, ctx)

    async def list(
        self, params: QueryParams = _EVERYTHING, ctx: AuthContext = ANONYMOUS
    ) -> builtins.list[Any]:
        """The entities that a query selects, perhaps from the cache."""
        load = self._service.list
        answer = await _many(self._service, self._remembered, load, params, ctx)
        return cast("builtins.list[Any]", answer)

    async def paged_list(
        self,
        params: QueryParams = _EVERYTHING,
        ctx: AuthContext = ANONYMOUS,
        *,
        raw_query: str | None = None,
        total: bool | int = False,
    ) -> Any:
        """A page and the way to its neighbours, perhaps from the cache."""
        load = self._service.paged_list
        return await _page(
            self._service, self._remembered, load, params, ctx, raw_query=raw_query, total=total
        )
