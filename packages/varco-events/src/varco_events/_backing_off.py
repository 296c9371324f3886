"""How long to wait before trying again."""

from __future__ import annotations

import random


def back_off(attempt: int, most: float = 1.0) -> float:
    """Seconds to wait before an attempt: exponential with full jitter, never quite zero."""
    longest = min(most, 0.02 * 2.0 ** min(attempt, 30))
    return random.uniform(longest / 10, longest)  # noqa: S311  # not for secrets
