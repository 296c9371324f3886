"""The unit of work: one transaction and the repositories that take part in it."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from types import MethodType, TracebackType
from typing import Any, Self, TypeVar, cast

from varco_domain._errors import DomainError
from varco_domain._tenancy import Tenancy, TenantScopedRepository, tenancy
from varco_domain.meta import MetaReader
from varco_domain.model import DomainModel
from varco_domain.repository import AsyncRepository

__all__ = ("AfterCommitError", "AsyncUnitOfWork", "UnitOfWorkError")

D = TypeVar("D", bound=DomainModel)


class UnitOfWorkError(DomainError):
    """A unit of work was used outside its `async with`, or twice."""

    code = "domain.unit_of_work"


class AfterCommitError(DomainError):
    """The transaction is committed, but a callback after it failed.

    Attributes:
        errors: What the callbacks raised; all callbacks have run.
    """

    code = "domain.after_commit"

    def __init__(self, errors: tuple[Exception, ...]) -> None:
        super().__init__(
            f"the changes are committed, but {len(errors)} callback(s) after the commit failed: "
            + "; ".join(repr(e) for e in errors)
        )
        self.errors = errors


class AsyncUnitOfWork(ABC):
    """One transaction: commits on a clean exit, rolls back on any exception, cancellation included.

    A backend implements `commit` and `rollback` and, where it has more to do, `_begin`,
    `_make_repository` and `_close`; it calls `super().__init__(models)`. Without
    `_make_repository` a model's repository is the attribute called like its table. A unit of work
    belongs to the tenant in whose context it began, and to one task: it is not safe to use from
    several tasks at once.
    """

    outbox: Any = None
    """The backend's transactional outbox, when it has one."""

    _models: Mapping[str, type[DomainModel]] = {}
    _tenancy: Tenancy | None = None
    _state: str = "new"
    # None until there is one: a subclass need not call __init__.
    _repositories: dict[type[DomainModel], AsyncRepository[Any, Any]] | None = None
    _callbacks: list[Callable[[], Awaitable[None]]] | None = None

    def __init__(self, models: Mapping[str, type[DomainModel]] | None = None) -> None:
        self._models = models or {}

    @property
    def tenancy(self) -> Tenancy | None:
        """Whose rows it may touch; None before it began."""
        return self._tenancy

    @property
    def models_by_table(self) -> Mapping[str, type[DomainModel]]:
        """The registered models by the names of their tables."""
        return self._models

    def check_open(self) -> None:
        """Raise unless it has begun and has not ended.

        Raises:
            UnitOfWorkError: It is new or closed.
        """
        if self._state != "open":
            raise UnitOfWorkError(
                f"{type(self).__name__} is {self._state}; use it inside 'async with', and call "
                "super() where it has an __aenter__ of its own"
            )

    def bind_tenancy(self) -> None:
        """Fix the tenant now, rather than when the unit of work begins."""
        self._tenancy = tenancy()

    async def _begin(self) -> None:  # noqa: B027 - optional for a backend
        """Open the transaction; on an error nothing is left open."""

    def _make_repository(self, entity_cls: type[D]) -> AsyncRepository[D, Any]:
        """A repository of this transaction."""
        table = MetaReader.read(entity_cls).table
        if table in self.__dict__ or hasattr(type(self), table):
            return cast("AsyncRepository[D, Any]", getattr(self, table))
        raise _no_repository(self, entity_cls, table)

    @abstractmethod
    async def commit(self) -> None:
        """Make the changes so far permanent; called once by a clean exit."""

    @abstractmethod
    async def rollback(self) -> None:
        """Undo the changes since the last commit."""

    async def _close(self) -> None:  # noqa: B027 - optional for a backend
        """Give back what `_begin` took; called on every path, after commit or rollback."""

    def repository(self, entity_cls: type[D]) -> AsyncRepository[D, Any]:
        """The repository of a model, scoped to the tenant when the model has one."""
        known = self._repositories
        found = None if known is None else known.get(entity_cls)
        if found is None:
            if self._state != "open":
                self.check_open()
            found = self._make_repository(entity_cls)
            if MetaReader.read(entity_cls).tenant_field is not None:
                found = TenantScopedRepository(found, entity_cls, self._tenancy)
            if known is None:
                known = self._repositories = {}
            known[entity_cls] = found
        return found

    def __getattr__(self, name: str) -> Any:
        model = self._models.get(name)
        if model is None:
            known = ", ".join(sorted(self._models)) or "none"
            raise AttributeError(
                f"{type(self).__name__} has no attribute and no table {name!r}; tables: {known}"
            )
        return self.repository(model)

    def model(self, table: str) -> type[DomainModel] | None:
        """The registered model of a table, if there is one."""
        return self._models.get(table)

    async def upsert(self, entities: Sequence[D], *, by: Sequence[str]) -> None:
        """Insert entities of one model, or update the rows with the same values of `by`.

        It is `AsyncRepository.upsert` of their model, and raises what that does.
        """
        if entities:
            await self.repository(type(entities[0])).upsert(entities, by=by)

    def on_commit(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Run an async callback after the commit has succeeded; never after a rollback."""
        if self._callbacks is None:
            self._callbacks = []
        self._callbacks.append(callback)

    async def __aenter__(self) -> Self:
        if self._state != "new":
            raise UnitOfWorkError(
                f"this unit of work is {self._state}; make a new one for each use"
            )
        if self._tenancy is None:
            self._tenancy = tenancy()
        await self._begin()
        self._state = "open"
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        failure = cancelled = None
        try:
            if exc_type is None:
                try:
                    if self._callbacks:
                        # Somebody waits to hear of it.
                        cancelled = await _to_the_end(self.commit)
                    else:
                        await self.commit()
                except BaseException as error:  # noqa: BLE001 - raised below, after the rollback
                    failure = error
            if exc_type is not None or failure is not None:
                cancelled = await _to_the_end(self.rollback) or cancelled
        finally:
            self._state = "closed"
            self._repositories = None
            close = self._close
            if close.__class__ is not MethodType or close.__func__ is not _NOTHING_TO_CLOSE:
                cancelled = await _to_the_end(self._close) or cancelled
        if exc_type is None and failure is None and self._callbacks:
            cancelled = await self._run_callbacks() or cancelled
        if cancelled is not None:
            raise cancelled from failure
        if failure is not None:
            raise failure

    async def _run_callbacks(self) -> BaseException | None:
        errors: list[Exception] = []

        async def run() -> None:
            for callback in self._callbacks or ():
                try:
                    await callback()
                except Exception as error:  # noqa: BLE001 - one failure must not stop the others
                    errors.append(error)

        # Committed work is announced even when the caller gives up meanwhile.
        cancelled = await _to_the_end(run)
        if errors:
            failure = AfterCommitError(tuple(errors))
            if cancelled is None:
                raise failure
            raise cancelled from failure
        return cancelled


# The method as it is when nobody has overridden, patched or set it.
_NOTHING_TO_CLOSE = AsyncUnitOfWork.__dict__["_close"]


def repository_of[D: DomainModel](
    uow: AsyncUnitOfWork, entity_cls: type[D]
) -> AsyncRepository[D, Any]:
    """A model's repository of a unit of work, one of another kind included.

    Raises:
        UnitOfWorkError: It has none.
    """
    if hasattr(uow, "repository"):
        return uow.repository(entity_cls)
    table = MetaReader.read(entity_cls).table
    found = getattr(uow, table, None)
    if found is None:
        raise _no_repository(uow, entity_cls, table)
    return cast("AsyncRepository[D, Any]", found)


def bind_tenancy(uow: object) -> None:
    """Fix the tenant of a unit of work now; one of another kind has none."""
    if isinstance(uow, AsyncUnitOfWork):
        uow.bind_tenancy()


def on_commit(uow: object, callback: Callable[[], Awaitable[None]]) -> None:
    """Leave a callback to a unit of work, one of another kind included.

    Raises:
        UnitOfWorkError: It would run none.
    """
    leave = getattr(uow, "on_commit", None)
    if leave is None:
        raise UnitOfWorkError(
            f"{type(uow).__name__} has no on_commit, which what comes after the commit needs; "
            "derive it from AsyncUnitOfWork"
        )
    if isinstance(uow, AsyncUnitOfWork):
        uow.check_open()  # one with an __aexit__ of its own runs no callbacks
    leave(callback)


def _no_repository(uow: object, entity_cls: type, table: str) -> UnitOfWorkError:
    return UnitOfWorkError(
        f"{type(uow).__name__} has no repository of {entity_cls.__name__}: give it an attribute "
        f"{table!r}, or override _get_repo of the service"
    )


async def _to_the_end(call: Callable[[], Coroutine[Any, Any, None]]) -> BaseException | None:
    """Run a call to its end, however often the task is cancelled, and return the cancellation.

    A shielded scope holds off what anyio and trio cancel. A task of asyncio can be cancelled past
    all scopes (`task.cancel()`, `asyncio.timeout`): there the call has a task of its own.
    """
    import anyio  # noqa: PLC0415 - models and stubs need no anyio

    with anyio.CancelScope(shield=True):
        if anyio.get_cancelled_exc_class() is asyncio.CancelledError:
            return await _awaited(asyncio.create_task(call()))
        await call()
    return None


async def _awaited(task: asyncio.Task[None]) -> BaseException | None:
    cancelled: BaseException | None = None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            cancelled = error
    failure = None if task.cancelled() else task.exception()
    if failure is not None and cancelled is not None:
        raise cancelled from failure
    task.result()
    return cancelled
