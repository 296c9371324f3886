"""Watching the operations of services and the calls of repositories, for traces and metrics.

While nobody watches, nothing is in the way of a call: the methods are as they were written. The
first observer has them wrapped, and with the last one they are as before.
"""

from abc import ABC
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from contextvars import ContextVar
from functools import partial, update_wrapper
from inspect import iscoroutinefunction, markcoroutinefunction
from typing import Any, ClassVar, Final, Literal

__all__ = (
    "Observed",
    "ObservedKind",
    "ServiceObserver",
    "add_service_observer",
    "remove_service_observer",
    "unobserved",
)

type ObservedKind = Literal["operation", "repository_call"]
"""What can be watched: the operations of services, or the calls of repositories."""

_CALLS: Final[dict[ObservedKind, tuple[str, ...]]] = {
    "operation": (
        *("get", "exists", "list", "count", "paged_list", "create", "create_many"),
        *("update", "patch", "update_many", "delete", "delete_many", "restore", "purge"),
    ),
    "repository_call": (
        *("find_by_id", "find_all", "find_by_query", "count", "exists", "save", "save_many"),
        *("delete", "delete_many", "upsert", "update_many_by_query", "aggregate"),
    ),
}


class ServiceObserver:
    """Surrounds calls with what its methods return; the methods do nothing unless overridden.

    They are called before the call, from any task, and must be quick. What they return is entered,
    and left with the error of the call, if any, a cancellation included; it must not suppress it.
    An error of an observer is one of the call.
    """

    def operation(self, service: object, name: str) -> AbstractContextManager[object] | None:  # noqa: ARG002 - for those who override it
        """What to enter around an operation of a service: "get", "create", ...

        Only around the outermost: not when a service calls itself to do what it was asked for.
        Streams are none.
        """
        return None

    def repository_call(
        self,
        repository: object,  # noqa: ARG002 - likewise
        name: str,  # noqa: ARG002 - likewise
    ) -> AbstractContextManager[object] | None:
        """What to enter around a call of a repository: "find_by_id", "save", ...

        Only around the outermost, when a repository stands before another. Streams are none.
        """
        return None


class Observed(ABC):
    """A base of the classes whose calls can be watched."""

    observed_as: ClassVar[ObservedKind]
    """What an observer is asked for a call."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if _observers:
            _wrap(cls)


_observers: tuple[ServiceObserver, ...] = ()
# The classes that have wrapped methods, with those.
_wrapped: Final[list[tuple[type[Observed], str, Callable[..., Any]]]] = []


def add_service_observer(observer: ServiceObserver) -> None:
    """Have an observer watch all services and repositories of this process; once, if added again.

    Not while calls are under way in another thread.
    """
    global _observers  # noqa: PLW0603 - of the process
    if observer in _observers:
        return
    if not _observers:
        for cls in _below(Observed):
            _wrap(cls)
    _observers = (*_observers, observer)


def remove_service_observer(observer: ServiceObserver) -> None:
    """Undo `add_service_observer`; an unknown observer is no error.

    Calls under way end as they began.
    """
    global _observers  # noqa: PLW0603 - of the process
    _observers = tuple(one for one in _observers if one is not observer)
    if _observers:
        return
    for cls, name, call in _wrapped:
        if vars(cls).get(name) is call:  # else it was patched since, and passes calls through
            setattr(cls, name, unobserved(call))
    _wrapped.clear()


def unobserved(method: Any) -> Any:
    """The function that was written, of a method, bound or not, that may be watched."""
    function = getattr(method, "__func__", method)
    return getattr(function, "__varco_written__", function)


def _below(base: type[Observed]) -> Iterator[type[Observed]]:
    seen: set[type[Observed]] = set()
    left = base.__subclasses__()
    while left:
        cls = left.pop()
        if cls not in seen:
            seen.add(cls)
            left += cls.__subclasses__()
            yield cls


def _wrap(cls: type[Observed]) -> None:
    for name in _CALLS[cls.observed_as]:
        function = vars(cls).get(name)
        if (
            iscoroutinefunction(function)
            and not hasattr(function, "__varco_written__")
            and not getattr(function, "__isabstractmethod__", False)
        ):
            call = _watched(function, cls.observed_as, name)
            setattr(cls, name, call)
            _wrapped.append((cls, name, call))


class _Frame:
    """A watched call; open until it ends, for tasks that it leaves behind."""

    __slots__ = ("open", "owner")

    def __init__(self, owner: object) -> None:
        self.owner = owner
        self.open = True


_within: Final[dict[str, ContextVar[_Frame | None]]] = {
    kind: ContextVar(f"varco_domain_{kind}", default=None) for kind in _CALLS
}


def _watched(function: Callable[..., Any], kind: ObservedKind, name: str) -> Callable[..., Any]:
    within = _within[kind]

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        around = [
            context
            for observer in _observers
            if (context := getattr(observer, kind)(self, name)) is not None
        ]
        if not around:
            return function(self, *args, **kwargs)
        frame = within.get()
        if frame is not None and frame.open and (frame.owner is self or kind != "operation"):
            return function(self, *args, **kwargs)
        return _surrounded(within, self, around, partial(function, self, *args, **kwargs))

    update_wrapper(call, function)
    call.__varco_written__ = function  # type: ignore[attr-defined] # what it stands for
    return markcoroutinefunction(call)


async def _surrounded(
    within: ContextVar[_Frame | None],
    owner: object,
    around: list[AbstractContextManager[object]],
    call: Callable[[], Any],
) -> Any:
    frame = _Frame(owner)
    token = within.set(frame)
    try:
        with ExitStack() as stack:
            for context in around:
                stack.enter_context(context)
            return await call()
    finally:
        frame.open = False
        within.reset(token)
