"""Time-ordered UUIDs (RFC 9562, version 7)."""

import os
import time
from threading import Lock
from uuid import UUID

# _last is protected by _lock: keys made in one process never go backwards.
_lock = Lock()
_last = 0


def uuid7() -> UUID:
    """A new UUID that sorts after all that this process made before."""
    global _last  # noqa: PLW0603 - the one counter of the process
    now, fraction = divmod(time.time_ns(), 1_000_000)
    # 48 bits of milliseconds and 12 bits of the fraction, then 62 random bits.
    stamp = (now << 12) | (fraction * 4096 // 1_000_000)
    with _lock:
        if stamp <= _last:
            stamp = _last + 1
        _last = stamp
    tail = int.from_bytes(os.urandom(8)) & 0x3FFF_FFFF_FFFF_FFFF
    return UUID(int=(stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0x2 << 62 | tail)
