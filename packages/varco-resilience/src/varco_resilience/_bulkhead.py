"""A limit on how many calls run at once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from varco_resilience._checks import at_least, of_type
from varco_resilience._errors import BulkheadFullError, CallTimeoutError
from varco_resilience._functions import Kind, check_async, check_sync
from varco_resilience._observers import told
from varco_resilience._strategy import AnyStrategy, Part, SharedStrategy
from varco_resilience._surround import Gate, surround
from varco_resilience._timeout import limited
from varco_resilience._wakeup import wakeup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@dataclass(frozen=True, slots=True)
class BulkheadConfig:
    """How many calls may run at once, and how long others may wait for their turn.

    Args:
        max_concurrent: Calls at once.
        max_wait: Seconds; with 0 a call that finds no free slot is refused at once.
    """

    max_concurrent: int
    max_wait: float = 0.0

    def __post_init__(self) -> None:
        at_least("max_concurrent", self.max_concurrent, 1, whole=True)
        at_least("max_wait", self.max_wait, 0)


class _Waiter:
    """A call that waits for a slot; the lock of its slots protects `served`."""

    __slots__ = ("served", "wake")

    def __init__(self, wake: Callable[[], object]) -> None:
        self.wake = wake
        self.served = False


class _Slots(Gate):
    """The slots of a bulkhead, handed on in the order of asking.

    `_lock` protects `free`, `_waiters` and what the waiters are told. While anyone waits, no slot
    is free. The lock is reentrant, since the garbage collector may end a forgotten call in the
    middle of anything, and that gives its slot back.
    """

    __slots__ = ("_config", "_lock", "_name", "_waiters", "free", "reports_success")

    def __init__(self, config: BulkheadConfig, name: str) -> None:
        super().__init__()
        self.reports_success: bool = True
        self._config = config
        self._name = name
        self.free = config.max_concurrent
        self._waiters: OrderedDict[_Waiter, None] = OrderedDict()
        self._lock = threading.RLock()

    def admit(self, args: Any, kwargs: Any) -> Self | None:  # noqa: ARG002  # all calls alike
        """Take a free slot, if there is one."""
        with self._lock:
            if self.free:
                self.free -= 1
                return self
            return None

    def leave(self, error: BaseException | None) -> None:  # noqa: ARG002  # all ends alike
        """Give a slot back, to who has waited longest."""
        while True:
            with self._lock:
                if not self._waiters:
                    self.free += 1
                    return
                waiter, _ = self._waiters.popitem(last=False)
                waiter.served = True
            try:
                waiter.wake()
            except RuntimeError:  # its event loop has ended, and its call with it
                continue
            return

    def wait_sync(self, args: Any, kwargs: Any) -> Self:  # noqa: ARG002  # all calls alike
        """Wait for a slot in a thread."""
        event = threading.Event()
        waiter = self._queue(event.set)
        if waiter is not None:
            try:
                event.wait(min(self._config.max_wait, threading.TIMEOUT_MAX))
            except BaseException:
                self._leave_queue(waiter, keep=False)
                raise
            self._leave_queue(waiter, keep=True)
        return self

    async def wait_async(self, args: Any, kwargs: Any) -> Self:  # noqa: ARG002  # all calls alike
        """Wait for a slot in a task."""
        event, wake = wakeup()
        waiter = self._queue(wake)
        if waiter is not None:
            try:
                await limited(event.wait(), self._config.max_wait, self._name)
            except CallTimeoutError:
                pass
            except BaseException:
                self._leave_queue(waiter, keep=False)
                raise
            self._leave_queue(waiter, keep=True)
        return self

    def _queue(self, wake: Callable[[], object]) -> _Waiter | None:
        """A place in the queue; None when a slot has become free and is taken."""
        waiter = _Waiter(wake)
        with self._lock:
            if self.free:
                self.free -= 1
                return None
            if self._config.max_wait:
                self._waiters[waiter] = None
                return waiter
        raise self._full()

    def _leave_queue(self, waiter: _Waiter, *, keep: bool) -> None:
        with self._lock:
            self._waiters.pop(waiter, None)
        if keep and not waiter.served:
            raise self._full()
        if waiter.served and not keep:
            self.leave(None)

    def _full(self) -> BulkheadFullError:
        config = self._config
        return told(BulkheadFullError(self._name, config.max_concurrent, config.max_wait))


class Bulkhead(SharedStrategy):
    """Lets so many calls run at once; others wait for their turn, or are refused.

    Share one instance among all that use the same resource. It is safe to share between threads,
    tasks and event loops, and serves who waits in order. A generator holds its slot until its end.

    Args:
        config: How many, and how long others may wait.
        name: Named in errors.
    """

    __slots__ = ("_slots", "config", "name")

    label = "bulkhead"

    def __init__(self, config: BulkheadConfig, *, name: str = "unnamed") -> None:
        of_type("config", config, BulkheadConfig)
        self.config: BulkheadConfig = config
        self.name: str = name
        self._slots = _Slots(config, name)

    @property
    def available_slots(self) -> int:
        """How many more calls could start now."""
        return self._slots.free

    def call_sync[**P, R](self, func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a sync function when there is a slot."""
        name = check_sync(self.label, func)
        result: R = surround(func, Kind.SYNC, self._slots, self.label, name)(*args, **kwargs)
        return result

    async def call[**P, R](
        self, func: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Call an async function when there is a slot."""
        name = check_async(self.label, func)
        result: R = await surround(func, Kind.ASYNC, self._slots, self.label, name)(*args, **kwargs)
        return result

    def wrap(self, func: Callable[..., Any], kind: Kind, name: str) -> Callable[..., Any]:
        """The function that surrounds calls of another, and is of the same kind."""
        return surround(func, kind, self._slots, self.label, name)


class _BulkheadPerFunction(AnyStrategy, Part):
    __slots__ = ("_config", "_name")

    label = "bulkhead"

    def __init__(self, config: BulkheadConfig, name: str | None) -> None:
        of_type("config", config, BulkheadConfig)
        self._config = config
        self._name = name

    def bind(self, name: str) -> Bulkhead:
        """A bulkhead for this function."""
        return Bulkhead(self._config, name=self._name or name)

    def wrap(self, func: Callable[..., Any], kind: Kind, name: str) -> Callable[..., Any]:
        """The function that surrounds calls of another, and is of the same kind."""
        return self.bind(name).wrap(func, kind, name)


def bulkhead(config: BulkheadConfig, *, name: str | None = None) -> AnyStrategy:
    """A decorator that gives each function a bulkhead of its own, by default of its name."""
    return _BulkheadPerFunction(config, name)
