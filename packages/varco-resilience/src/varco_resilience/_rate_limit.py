"""A limit on how many calls start in a time."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

from varco_resilience._checks import above_zero, at_least, of_type, sync_function
from varco_resilience._errors import (
    RateLimitExceededError,
    ResilienceConfigError,
    UnsupportedFunctionError,
)
from varco_resilience._functions import Kind
from varco_resilience._observers import told
from varco_resilience._strategy import AnyStrategy, Part
from varco_resilience._surround import Gate, surround

if TYPE_CHECKING:
    from collections.abc import Callable

_DEFAULT_KEY = "default"


@dataclass(frozen=True, slots=True)
class RateLimitConfig:
    """How many calls may start in which time.

    Args:
        rate: Calls of one key per period.
        period: Seconds.
        algorithm: "sliding_window" never lets more than `rate` calls start within any `period`,
            and remembers when each of them did. "token_bucket" remembers one number per key: a
            call takes a token, tokens come back evenly; after a pause, `rate` calls may start at
            once while more tokens come.
    """

    rate: int
    period: float
    algorithm: Literal["sliding_window", "token_bucket"] = "sliding_window"

    def __post_init__(self) -> None:
        at_least("rate", self.rate, 1, whole=True)
        above_zero("period", self.period)
        if self.algorithm not in ("sliding_window", "token_bucket"):
            raise ResilienceConfigError(
                "algorithm", self.algorithm, '"sliding_window" or "token_bucket"'
            )


class RateLimiter(ABC):
    """Counts the calls of each key, in memory or in a place that processes share."""

    @abstractmethod
    async def acquire(self, key: str = "default") -> bool:
        """Count a call and let it start, or say that the rate is used up."""

    @abstractmethod
    async def reset(self, key: str = "default") -> None:
        """Forget the calls of a key."""

    @abstractmethod
    async def retry_after(self, key: str = "default") -> float:
        """The seconds until a call of the key may start; 0.0 when it may now."""


class InMemoryRateLimiter(RateLimiter):
    """A rate limiter for one process.

    Safe to share between threads, tasks and event loops. It holds the keys that have been active
    within about a period; others are dropped a few at a time as calls come in.
    """

    __slots__ = ("_clock", "_lock", "_state", "config")

    def __init__(
        self, config: RateLimitConfig, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        of_type("config", config, RateLimitConfig)
        self.config: RateLimitConfig = config
        self._clock = clock
        self._lock = threading.Lock()  # protects _state
        kind = _TokenBuckets if config.algorithm == "token_bucket" else _SlidingWindows
        self._state: _TokenBuckets | _SlidingWindows = kind(config)

    def take(self, key: str = "default") -> float:
        """Count a call and return 0.0, or return the seconds until it may start."""
        with self._lock:
            return self._state.take(key, self._clock())

    async def acquire(self, key: str = "default") -> bool:
        """Count a call and let it start, or say that the rate is used up."""
        return not self.take(key)

    async def reset(self, key: str = "default") -> None:
        """Forget the calls of a key."""
        with self._lock:
            self._state.keys.pop(key, None)

    async def retry_after(self, key: str = "default") -> float:
        """The seconds until a call of the key may start; 0.0 when it may now."""
        with self._lock:
            return self._state.wait(key, self._clock())

    @property
    def active_keys(self) -> int:
        """How many keys it holds now."""
        return len(self._state.keys)


class _Keys[S](ABC):
    """What is remembered of each key, the latest call last."""

    def __init__(self) -> None:
        self.keys: OrderedDict[str, S] = OrderedDict()

    @abstractmethod
    def _idle(self, key: str, now: float) -> bool: ...

    def _touch(self, key: str, now: float) -> None:
        """Note which of several keys has been active, and forget some that have not."""
        keys = self.keys
        keys.move_to_end(key)
        # A call brings one key at most and takes two away, so the idle ones become fewer.
        for _ in range(2):
            oldest = next(iter(keys))
            if not self._idle(oldest, now):
                break
            del keys[oldest]


class _TokenBuckets(_Keys[float]):
    """For each key, the time at which its bucket is full again."""

    def __init__(self, config: RateLimitConfig) -> None:
        super().__init__()
        self._interval = config.period / config.rate
        self._slack = config.period - self._interval

    def wait(self, key: str, now: float) -> float:
        return max(0.0, self.keys.get(key, now) - self._slack - now)

    def take(self, key: str, now: float) -> float:
        keys = self.keys
        full_at = keys.get(key)
        if full_at is not None and full_at > now:
            seconds = full_at - now - self._slack
            if seconds > 0:
                return seconds
            keys[key] = full_at + self._interval
        else:
            keys[key] = now + self._interval
        if len(keys) > 1:
            self._touch(key, now)
        return 0.0

    def _idle(self, key: str, now: float) -> bool:
        return self.keys[key] <= now


class _SlidingWindows(_Keys[deque[float]]):
    """For each key, when each of its calls will have started a period ago."""

    def __init__(self, config: RateLimitConfig) -> None:
        super().__init__()
        self._rate = config.rate
        self._period = config.period

    def wait(self, key: str, now: float) -> float:
        ends = self.keys.get(key)
        if ends is None or len(ends) < self._rate:
            return 0.0
        return max(0.0, ends[-self._rate] - now)

    def take(self, key: str, now: float) -> float:
        keys = self.keys
        ends = keys.get(key)
        if ends is None:
            ends = keys[key] = deque()
        elif ends[0] > now:
            if len(ends) == self._rate:
                return ends[0] - now
        else:
            # Two for each that comes, so the old ones become fewer.
            ends.popleft()
            if ends and ends[0] <= now:
                ends.popleft()
        ends.append(now + self._period)
        if len(keys) > 1:
            self._touch(key, now)
        return 0.0

    def _idle(self, key: str, now: float) -> bool:
        return self.keys[key][-1] <= now


def _takes(limiter: RateLimiter) -> TypeGuard[InMemoryRateLimiter]:
    """Whether it can be asked without an await, and means nothing else by it."""
    kind = type(limiter)
    return isinstance(limiter, InMemoryRateLimiter) and all(
        getattr(kind, name) is getattr(InMemoryRateLimiter, name)
        for name in ("acquire", "retry_after")
    )


class _Free:
    """The permit of calls that nobody asks about once they have started."""

    __slots__ = ("reports_success",)

    def __init__(self) -> None:
        self.reports_success: bool = False

    def leave(self, error: BaseException | None) -> None: ...


_FREE = _Free()


class _Local(Gate):
    """Asks a limiter that answers at once."""

    __slots__ = ("_key_fn", "_take")

    def __init__(self, limiter: InMemoryRateLimiter, key_fn: Callable[..., str] | None) -> None:
        super().__init__()
        self._take = limiter.take
        self._key_fn = key_fn

    def admit(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Free:
        """Count the call, or refuse it."""
        key = _DEFAULT_KEY if self._key_fn is None else self._key_fn(*args, **kwargs)
        seconds = self._take(key)
        if seconds:
            raise told(RateLimitExceededError(key, seconds))
        return _FREE


class _Shared(Gate):
    """Asks a limiter that has to be awaited."""

    __slots__ = ("_key_fn", "_limiter")

    def __init__(self, limiter: RateLimiter, key_fn: Callable[..., str] | None) -> None:
        super().__init__()
        self._limiter = limiter
        self._key_fn = key_fn

    def admit(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Leave it to `wait_async`."""

    async def wait_async(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Free:
        """Count the call, or refuse it."""
        key = _DEFAULT_KEY if self._key_fn is None else self._key_fn(*args, **kwargs)
        if not await self._limiter.acquire(key):
            raise told(RateLimitExceededError(key, await self._limiter.retry_after(key)))
        return _FREE


class _RateLimit(AnyStrategy, Part):
    __slots__ = ("_key_fn", "_limiter")

    label = "rate_limit"

    def __init__(self, limiter: RateLimiter, key_fn: Callable[..., str] | None) -> None:
        of_type("limiter", limiter, RateLimiter)
        if key_fn is not None:
            sync_function("key_fn", key_fn)
        self._limiter = limiter
        self._key_fn = key_fn

    def wrap(self, func: Callable[..., Any], kind: Kind, name: str) -> Callable[..., Any]:
        """The function that surrounds calls of another, and is of the same kind."""
        limiter = self._limiter
        if _takes(limiter):
            return surround(func, kind, _Local(limiter, self._key_fn), self.label, name)
        if kind not in {Kind.ASYNC, Kind.ASYNC_GENERATOR}:
            raise UnsupportedFunctionError(
                self.label,
                name,
                f"{type(limiter).__name__} has to be awaited; make the function async, or use an "
                "InMemoryRateLimiter",
            )
        return surround(func, kind, _Shared(limiter, self._key_fn), self.label, name)


def rate_limit(limiter: RateLimiter, *, key_fn: Callable[..., str] | None = None) -> AnyStrategy:
    """Refuse calls with `RateLimitExceededError` when the limiter says so.

    Args:
        limiter: Share one among all functions that count together.
        key_fn: Called with the arguments of the call, tells whose rate it counts for.
    """
    return _RateLimit(limiter, key_fn)
