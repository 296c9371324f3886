"""What a relay did last."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from varco_events._diagnostics import describe

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

_WINDOW: Final = 60.0
_MOST_SAMPLES: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayStatus:
    """What a relay did last, and how fast it is, as of one moment.

    Attributes:
        is_running: Whether it goes on by itself.
        looked_at: When it asked the outbox last; None when it never did.
        batch_at: When it began with its last batch; None when there was none.
        batch: How many entries that had.
        delivered: How many of them the bus has taken.
        failed: How many it has not, without what waits behind them.
        lag: Seconds for which the first of them had been in the outbox then, if its store tells.
        error: What went wrong last, with the outbox or with an entry; None when nothing ever did.
        error_at: When that was.
        total: How many entries were delivered since the relay was made.
        rate: Entries delivered per second of the last minute.
    """

    is_running: bool
    looked_at: datetime | None = None
    batch_at: datetime | None = None
    batch: int = 0
    delivered: int = 0
    failed: int = 0
    lag: float | None = None
    error: str | None = None
    error_at: datetime | None = None
    total: int = 0
    rate: float = 0.0


class RelayRecord:
    """Keeps what `RelayStatus` says; one event loop owns it."""

    def __init__(
        self, clock: Callable[[], datetime], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._looked_at: datetime | None = None
        self._batch_at: datetime | None = None
        self._batch = self._delivered = self._failed = self._total = 0
        self._lag: float | None = None
        self._error: str | None = None
        self._error_at: datetime | None = None
        self._born = monotonic()
        # When batches ended, and how many were delivered; those of half a second are one.
        self._samples: deque[tuple[float, int]] = deque(maxlen=_MOST_SAMPLES)

    def looked(self) -> None:
        """The outbox was asked."""
        self._looked_at = self._clock()

    def began(self, entries: int, lag: float | None) -> None:
        """A batch was claimed."""
        self._batch_at, self._batch, self._lag = self._looked_at, entries, lag
        self._delivered = self._failed = 0

    def ended(self, delivered: int, failed: int) -> None:
        """What became of the batch."""
        self._delivered, self._failed = delivered, failed
        self._total += delivered
        if delivered:
            now, samples = self._monotonic(), self._samples
            if samples and now - samples[-1][0] < _WINDOW / _MOST_SAMPLES:
                samples[-1] = (samples[-1][0], samples[-1][1] + delivered)
            else:
                samples.append((now, delivered))

    def erred(self, error: BaseException) -> None:
        """Something went wrong."""
        self._error, self._error_at = describe(error), self._clock()

    def status(self, *, is_running: bool) -> RelayStatus:
        """All of it, as of now."""
        now = self._monotonic()
        recent = sum(count for at, count in self._samples if now - at < _WINDOW)
        return RelayStatus(
            is_running=is_running,
            looked_at=self._looked_at,
            batch_at=self._batch_at,
            batch=self._batch,
            delivered=self._delivered,
            failed=self._failed,
            lag=self._lag,
            error=self._error,
            error_at=self._error_at,
            total=self._total,
            rate=recent / max(min(_WINDOW, now - self._born), 1.0),
        )
