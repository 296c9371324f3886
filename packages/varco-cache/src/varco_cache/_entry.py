"""What a cache answers: the value with what is left of its life, or that there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal

FOREVER: Final = math.inf


class Missing(Enum):
    """The type of `MISSING`."""

    MISSING = "MISSING"

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> Literal[False]:
        return False


MISSING: Final = Missing.MISSING
"""What `get(key, MISSING)` and `peek` answer on a miss: nothing that was cached is ever this."""


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A cached value, the seconds it has left and its tags.

    `ttl` is `math.inf` when the entry does not expire, and `math.nan` when its backend cannot tell.
    """

    value: Any
    ttl: float = FOREVER
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What a cache did since it was made, and what it holds now.

    `entries` and `size_bytes` count what is held, the expired and invalidated that were not
    reclaimed yet included; `errors` counts the calls that a layer failed, `stale` the values that
    were served beyond their ttl.
    """

    hits: int = 0
    misses: int = 0
    sets: int = 0
    loads: int = 0
    evictions: int = 0
    expirations: int = 0
    errors: int = 0
    entries: int = 0
    size_bytes: int = 0
    stale: int = 0

    @property
    def hit_ratio(self) -> float:
        """Hits per read, 0.0 before the first one."""
        reads = self.hits + self.misses
        return self.hits / reads if reads else 0.0
