"""Holds the keys of one source: how old they may be, and how often they may be asked for."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Final

import anyio

from varco_auth_jwt import _observer
from varco_auth_jwt._errors import AuthJwtError, AuthorityError, KeysUnavailableError, shown
from varco_auth_jwt._states import FetchState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from varco_auth_jwt._claims import Clock
    from varco_auth_jwt._jwk_set import JsonWebKeySet

# Of `ttl`: from when on a keeper, and without one a caller, fetches anew.
_RENEW: Final = 0.6
_AHEAD: Final = 0.8
# How long after a keeper's last look callers rely on it; it looks every second.
_KEPT_FOR: Final = 5.0
# A larger `int` is nothing that a clock can reckon with.
_LONGEST: Final = sys.float_info.max
_log = logging.getLogger("varco_auth_jwt")


def check_seconds(value: float, what: str, *, positive: bool = False) -> None:
    """Raise AuthorityError if this is no number of seconds."""
    is_span = type(value) in {int, float} and value >= 0 and not _LONGEST < value < float("inf")
    if not is_span or (positive and not 0 < value < float("inf")):
        kind = "finite seconds, more than 0" if positive else "seconds, 0 or more"
        raise AuthorityError(f"{what} must be {kind}, not {shown(value)}")


class _Flight:
    """A fetch under way; `landed` stays False if the task that led it was cancelled."""

    __slots__ = ("done", "landed")

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.landed = False


class KeyCache:
    """Serves one source's keys from memory; for the tasks of one event loop.

    - Younger than `ttl`, keys are served at once. In the last fifth of that time one caller fetches
      anew and the others go on with what there is; if a keeper calls `renew`, it is the one.
    - Older than `ttl`, they are fetched before anything is served; everybody waits for one fetch.
    - If that fails, the last keys are served for `max_stale` more seconds, and then none; meanwhile
      one caller at a time (or the keeper) tries again and the others go on.
    - `refresh` fetches at most once per `cooldown`; after a failure so does `load`.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[JsonWebKeySet]],
        *,
        name: str,
        ttl: float,
        cooldown: float,
        max_stale: float,
        clock: Clock = time.monotonic,
    ) -> None:
        for what, value in {
            "time to live": ttl,
            "interval between refreshes": cooldown,
            "max_stale": max_stale,
        }.items():
            check_seconds(value, f"the {what} of {name}")
        self._fetch = fetch
        self._name = name
        self._ttl = ttl
        self._cooldown = cooldown
        self._max_stale = max_stale
        self._clock = clock
        # All below belongs to the tasks of one event loop, and changes only between their awaits.
        self._keys: JsonWebKeySet | None = None
        self._fetched_at = 0.0
        self._refresh_from = float("-inf")
        self._retry_from = float("-inf")
        self._failure: str | None = None
        self._flight: _Flight | None = None
        self._kept_until = float("-inf")

    @property
    def is_stale(self) -> bool:
        """Whether there are no keys younger than `ttl`."""
        return self._keys is None or self._clock() >= self._fetched_at + self._ttl

    def state(self) -> FetchState:
        """How the keys were fetched last, and when they will be next at the earliest."""
        now = self._clock()
        ago = None if self._keys is None else max(now - self._fetched_at, 0.0)
        share = _RENEW if now < self._kept_until else _AHEAD
        due = now if self._keys is None else self._fetched_at + self._ttl * share
        next_in = max(due - now, self._retry_from - now, 0.0)
        return FetchState(ago=ago, next_in=next_in, error=self._failure)

    async def load(self) -> JsonWebKeySet:
        """The keys, fetched if need be.

        Raises:
            KeysUnavailableError: there are none that may still be used.
        """
        now = self._clock()
        age = now - self._fetched_at
        if self._keys is not None and age < self._ttl * _AHEAD:
            return self._keys
        good_for = self._ttl + (self._max_stale if self._failure else 0)
        another_fetches = self._flight is not None or now < self._kept_until
        may_go_on = self._keys is not None and age < good_for and another_fetches
        if not may_go_on and now >= self._retry_from:
            await self._fetched()
        return self._usable()

    async def renew(self) -> None:
        """Fetch anew if it is time, so that no caller has to; call it every second."""
        now = self._clock()
        self._kept_until = now + _KEPT_FOR
        due = self._keys is None or now - self._fetched_at >= self._ttl * _RENEW
        if due and self._flight is None and now >= self._retry_from:
            await self._fetched()

    async def refresh(self) -> JsonWebKeySet:
        """The keys, fetched anew unless that was done a moment ago.

        Raises:
            KeysUnavailableError: there are none that may still be used.
        """
        if self._flight is not None:
            await self._fetched()
        elif self._clock() >= max(self._refresh_from, self._retry_from):
            self._refresh_from = self._clock() + self._cooldown
            await self._fetched()
        return self._usable()

    def _usable(self) -> JsonWebKeySet:
        limit = self._fetched_at + self._ttl + self._max_stale
        if self._keys is None or (self.is_stale and self._clock() >= limit):
            raise KeysUnavailableError(
                f"there are no usable keys of {self._name}: {self._failure or 'not fetched yet'}"
            )
        return self._keys

    async def _fetched(self) -> None:
        """Fetch, or wait for the fetch under way; take over if its task was cancelled."""
        while (flight := self._flight) is not None:
            await flight.done.wait()
            if flight.landed:
                return
        flight = self._flight = _Flight()
        try:
            await self._lead()
            flight.landed = True
        finally:
            self._flight = None
            flight.done.set()

    async def _lead(self) -> None:
        try:
            if _observer.observers:
                with _observer.around_fetching(self._name):
                    keys = await self._fetch()
            else:
                keys = await self._fetch()
        except Exception as error:  # noqa: BLE001  # whatever it was, the keys are not there
            known = isinstance(error, AuthJwtError)
            self._failure = str(error) if known else f"{type(error).__name__} was raised"
            self._retry_from = self._clock() + self._cooldown
            _log.warning("The keys of %s cannot be fetched: %s", self._name, self._failure)
            return
        # An equal set stays the same object, so that what was made of it stays good.
        if keys != self._keys:
            self._keys = keys
        self._fetched_at = self._clock()
        self._failure = None
