"""How long a cached result is fresh, and what may be served after that."""

from __future__ import annotations

import random
from dataclasses import dataclass

from varco_cache._checks import checked_seconds, checked_share, checked_ttl
from varco_cache._entry import FOREVER
from varco_cache._errors import CacheConfigError


@dataclass(frozen=True, slots=True)
class Freshness:
    """The times of one cached function, in seconds."""

    ttl: float | None = None
    stale_while_revalidate: float = 0.0
    stale_if_error: float = 0.0
    early_refresh: float = 0.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        checked_ttl(self.ttl)
        checked_share(self.jitter, "jitter")
        for name in ("stale_while_revalidate", "stale_if_error", "early_refresh"):
            if checked_seconds(getattr(self, name), name, least=0) and self.ttl is None:
                raise CacheConfigError("ttl", None, f"{name} needs one to count from")
        if self.ttl is not None and self.early_refresh >= self.ttl * (1 - self.jitter):
            remedy = "must be below the ttl less its jitter, or every call would load"
            raise CacheConfigError("early_refresh", self.early_refresh, remedy)

    @property
    def windowed(self) -> bool:
        """Whether a hit must look at its age."""
        return bool(self.stale or self.early_refresh)

    @property
    def stale(self) -> float:
        """Seconds that an entry is kept beyond its ttl."""
        return max(self.stale_while_revalidate, self.stale_if_error)

    def lifetime(self) -> float | None:
        """The ttl to store a result with."""
        if self.ttl is None or self.ttl == FOREVER:
            return self.ttl
        share = 1 - self.jitter * random.random() if self.jitter else 1  # noqa: S311 # spreads load
        return self.ttl * share + self.stale
