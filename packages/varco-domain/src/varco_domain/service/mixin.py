"""The base of what is mixed into services, one's own mixins included."""

from typing import TYPE_CHECKING, Any, ClassVar, Generic

from varco_domain.service._types import PK, C, D, R, U
from varco_domain.service.base import AsyncService

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from varco_domain.assembler import AbstractDTOAssembler
    from varco_domain.auth import AbstractAuthorizer, AuthContext
    from varco_domain.meta import ParsedMeta
    from varco_domain.providers import IUoWProvider
    from varco_domain.repository import AsyncRepository
    from varco_domain.service._ripple import Ripple
    from varco_domain.service._types import ChangeKind, EntityChange, ServiceTypes, Visibility
    from varco_domain.uow import AsyncUnitOfWork
    from varco_domain.validation import ValidationResult
    from varco_query import TransformerNode

__all__ = ("PK", "C", "D", "R", "ServiceMixin", "U")

if TYPE_CHECKING:
    # A mixin without type arguments would hide from checkers what AsyncService[Post, ...] beside it
    # says of the public methods, were it a service to them. So it has the parts and hooks alone.

    class ServiceMixin(Generic[D, PK, C, R, U]):  # noqa: UP046 - type variables with defaults
        """Base of mixins; `AsyncService[...]` stands last among the bases of a service."""

        types: ClassVar[ServiceTypes | None]
        _uow_provider: IUoWProvider
        _authorizer: AbstractAuthorizer
        _assembler: AbstractDTOAssembler[D, C, R, U]
        _entity_cls: type[D]
        _meta: ParsedMeta

        def __init__(
            self,
            uow_provider: IUoWProvider,
            authorizer: AbstractAuthorizer,
            assembler: AbstractDTOAssembler[Any, Any, Any, Any] | None = None,
            producer: Any = None,
            **parts: Any,
        ) -> None: ...
        def _publish_by(self, producer: Any) -> None: ...
        def visibility(self, ctx: AuthContext) -> Visibility:
            """Which rows the caller sees; see `AsyncService`."""
            ...

        def _get_repo(self, uow: AsyncUnitOfWork) -> AsyncRepository[D, PK]: ...
        def _scope(self, ctx: AuthContext) -> tuple[TransformerNode, ...]: ...
        async def _find(
            self,
            uow: AsyncUnitOfWork,
            pk: PK,
            ctx: AuthContext,
            where: TransformerNode | None,
            *,
            by_row: bool,
        ) -> D: ...
        def _prepare_new(self, entity: D, ctx: AuthContext) -> D: ...
        async def _validate(self, entity: D, ctx: AuthContext) -> ValidationResult: ...
        async def _check_references(
            self,
            uow: AsyncUnitOfWork,
            ctx: AuthContext,
            entities: Sequence[D],
            befores: Sequence[D | None],
        ) -> None: ...
        async def _check_writes(
            self, uow: AsyncUnitOfWork, entities: Sequence[D], befores: Sequence[D | None]
        ) -> None: ...
        async def _remove(self, uow: AsyncUnitOfWork, entity: D) -> D | None: ...
        async def _remove_many(
            self, uow: AsyncUnitOfWork, entities: Sequence[D]
        ) -> Sequence[D | None]: ...
        async def _after_write(
            self, uow: AsyncUnitOfWork, ctx: AuthContext, changes: Sequence[EntityChange]
        ) -> None: ...
        async def _after_commit(
            self, ctx: AuthContext, changes: Sequence[EntityChange]
        ) -> None: ...
        def _ripple(self, uow: AsyncUnitOfWork, ctx: AuthContext) -> Ripple: ...
        async def _take_away(
            self,
            uow: AsyncUnitOfWork,
            ctx: AuthContext,
            befores: Sequence[D],
            remove: Callable[[], Awaitable[Sequence[D | None]]],
            kind: ChangeKind = ...,
        ) -> None: ...
        async def _announce(
            self,
            uow: AsyncUnitOfWork,
            ctx: AuthContext,
            kind: ChangeKind,
            befores: Sequence[D | None],
            afters: Sequence[D | None],
        ) -> None: ...

else:

    class ServiceMixin(AsyncService[D, PK, C, R, U], Generic[D, PK, C, R, U]):  # noqa: UP046 - type variables with defaults
        """Base of what is mixed into services: it extends hooks of `AsyncService`.

        A mixin needs no type arguments, where the `AsyncService[...]` that stands last among the
        bases of a service has them.
        """
