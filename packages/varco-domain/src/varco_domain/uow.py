"""The unit of work: one transaction and the repositories that take part in it."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar, cast

from varco_domain._errors import DomainError
from varco_domain._tenancy import Tenancy, TenantScopedRepository, tenancy
from varco_domain.meta import MetaReader
from varco_domain.model import DomainModel
from varco_domain.repository import AsyncRepository

__all__ = ("AfterCommitError", "AsyncUnitOfWork", "UnitOfWorkError")

D = TypeVar("D", bound=DomainModel)


class UnitOfWorkError(DomainError):
    """A unit of work was used outside its ``async with``, or twice."""

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

    A backend implements ``_begin``, ``_make_repository``, ``commit``, ``rollback`` and ``_close``,
    and calls ``super().__init__(models)``. A unit of work belongs to the tenant in whose context it
    began, and to one task: it is not safe to use from several tasks at once.
    """

    outbox: Any = None
    """The backend's transactional outbox, when it has one."""

    _models: Mapping[str, type[DomainModel]] = {}
    _tenancy: Tenancy | None = None
    _state: str = "new"
    _closes: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._closes = "_close" in cls.__dict__ or cls._closes

    def __init__(self, models: Mapping[str, type[DomainModel]] | None = None) -> None:
        self._models = models or {}
        self._repositories: dict[type[DomainModel], AsyncRepository[Any, Any]] = {}
        self._callbacks: list[Callable[[], Awaitable[None]]] = []

    def bind_tenancy(self) -> None:
        """Fix the tenant now, rather than when the unit of work begins."""
        self._tenancy = tenancy()

    @abstractmethod
    async def _begin(self) -> None:
        """Open the transaction; on an error nothing is left open."""

    @abstractmethod
    def _make_repository(self, entity_cls: type[D]) -> AsyncRepository[D, Any]:
        """Return a repository of this transaction."""

    @abstractmethod
    async def commit(self) -> None:
        """Make the changes so far permanent; called once by a clean exit."""

    @abstractmethod
    async def rollback(self) -> None:
        """Undo the changes since the last commit."""

    async def _close(self) -> None:  # noqa: B027 - optional for a backend
        """Give back what ``_begin`` took; called on every path, after commit or rollback."""

    def repository(self, entity_cls: type[D]) -> AsyncRepository[D, Any]:
        """Return the repository of a model, scoped to the tenant when the model has one."""
        found = self._repositories.get(entity_cls)
        if found is None:
            if self._state != "open":
                raise UnitOfWorkError(
                    f"{type(self).__name__} is {self._state}; use it inside 'async with'"
                )
            found = self._make_repository(entity_cls)
            if MetaReader.read(entity_cls).tenant_field is not None:
                found = TenantScopedRepository(found, entity_cls, self._tenancy)
            self._repositories[entity_cls] = found
        return cast("AsyncRepository[D, Any]", found)

    def __getattr__(self, name: str) -> Any:
        model = self._models.get(name)
        if model is None:
            known = ", ".join(sorted(self._models)) or "none"
            raise AttributeError(
                f"{type(self).__name__} has no attribute and no table {name!r}; tables: {known}"
            )
        return self.repository(model)

    def model(self, table: str) -> type[DomainModel] | None:
        """Return the registered model of a table, if there is one."""
        return self._models.get(table)

    def on_commit(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Run an async callback after the commit has succeeded; never after a rollback."""
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
            self._repositories.clear()
            if self._closes:
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
            for callback in self._callbacks:
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


async def _to_the_end(call: Callable[[], Coroutine[Any, Any, None]]) -> BaseException | None:
    """Run a call to its end, however often the task is cancelled, and return the cancellation.

    A shielded scope holds off what anyio and trio cancel. A task of asyncio can be cancelled past
    all scopes (``task.cancel()``, ``asyncio.timeout``): there the call has a task of its own.
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
