"""What may be awaited or entered: how backends are opened."""

from abc import ABC, abstractmethod
from collections.abc import Generator
from types import TracebackType
from typing import Any, Protocol


class Closable(Protocol):
    """What has to be closed."""

    async def aclose(self) -> None:
        """Let go of what it holds."""
        ...


class Opening[B: Closable](ABC):
    """Opens something when it is awaited or entered; `async with` closes it at the end.

    A backend derives its `bootstrap` from it, whose arguments say what is opened:
    `async with bootstrap(url, Post) as backend:` closes the backend; after
    `backend = await bootstrap(url, Post)` the caller does, with `await backend.aclose()`.
    An instance belongs to one task, and is used once.
    """

    _opened: B | None = None

    @abstractmethod
    async def open(self) -> B:
        """Open it. What was begun when an error comes is undone before the error is raised."""

    def __await__(self) -> Generator[Any, None, B]:
        return self.open().__await__()

    async def __aenter__(self) -> B:
        self._opened = await self.open()
        return self._opened

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._opened is not None:
            await self._opened.aclose()
