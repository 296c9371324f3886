"""Surrounds the calls of a function with what lets them start and hears how they end.

Written once for each kind of function, and used by all strategies that let calls pass or wait.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

from varco_resilience._functions import Kind, answer_type

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator


class Permit(Protocol):
    """The right to make a call, and its report."""

    @property
    def reports_success(self) -> bool:
        """Whether `leave` has to be called after a success; it may be called all the same."""
        ...

    def leave(self, error: BaseException | None) -> None:
        """Hear how the call has ended."""
        ...


class Gate(ABC):
    """What lets calls start; `ready` is the permit that they share, as long as there is one."""

    __slots__ = ("ready",)

    def __init__(self) -> None:
        self.ready: Permit | None = None

    @abstractmethod
    def admit(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Permit | None:
        """A permit for the call with these arguments, a refusal as an error, or None to wait."""

    def wait_sync(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Permit:
        """The permit that `admit` had not yet; for gates whose `admit` may answer None."""
        raise NotImplementedError

    async def wait_async(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Permit:
        """As `wait_sync`, in a task."""
        raise NotImplementedError


def surround(
    func: Callable[..., Any], kind: Kind, gate: Gate, label: str, name: str
) -> Callable[..., Any]:
    """The function whose calls, each as a whole, pass the gate; a generator at its first item.

    `label` and `name`, of the strategy and of the function, are for messages.
    """
    if kind is Kind.SYNC:
        return _sync(func, gate, label, name)
    return _SURROUNDED[kind](func, gate)


def _sync(func: Callable[..., Any], gate: Gate, label: str, name: str) -> Callable[..., Any]:
    plain: type[Any] | None = None

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        nonlocal plain
        permit = gate.ready or gate.admit(args, kwargs) or gate.wait_sync(args, kwargs)
        try:
            result = func(*args, **kwargs)
            if type(result) is not plain:
                plain = answer_type(result, label, name)
        except BaseException as error:
            permit.leave(error)
            raise
        if permit.reports_success:
            permit.leave(None)
        return result

    return wrapper


def _async(func: Callable[..., Any], gate: Gate) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        permit = gate.ready or gate.admit(args, kwargs) or await gate.wait_async(args, kwargs)
        try:
            result = await func(*args, **kwargs)
        except BaseException as error:
            permit.leave(error)
            raise
        if permit.reports_success:
            permit.leave(None)
        return result

    return wrapper


def _generator(func: Callable[..., Generator[Any, Any, Any]], gate: Gate) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        permit = gate.ready or gate.admit(args, kwargs) or gate.wait_sync(args, kwargs)
        try:
            result = yield from func(*args, **kwargs)
        except BaseException as error:
            permit.leave(error)
            raise
        if permit.reports_success:
            permit.leave(None)
        return result

    return wrapper


def _async_generator(func: Callable[..., Any], gate: Gate) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        permit = gate.ready or gate.admit(args, kwargs) or await gate.wait_async(args, kwargs)
        try:
            items = func(*args, **kwargs)
            try:  # what `yield from` is to generators
                item = await anext(items)
                while True:
                    try:
                        sent = yield item
                    except BaseException as thrown:  # noqa: BLE001  # it goes where it was sent
                        item = await items.athrow(thrown)
                    else:
                        item = await items.asend(sent)
            except StopAsyncIteration:
                pass
            finally:
                await items.aclose()
        except BaseException as error:
            permit.leave(error)
            raise
        if permit.reports_success:
            permit.leave(None)

    return wrapper


_SURROUNDED = {
    Kind.ASYNC: _async,
    Kind.GENERATOR: _generator,
    Kind.ASYNC_GENERATOR: _async_generator,
}
