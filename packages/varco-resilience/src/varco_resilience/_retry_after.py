"""How long a callee wants to be left alone, as its error says it."""

from __future__ import annotations

import logging
import math
import re
import time
from typing import TYPE_CHECKING

from varco_resilience._checks import members_of

if TYPE_CHECKING:
    from collections.abc import Callable

_logger = logging.getLogger("varco_resilience")
_SECONDS = re.compile(r"[0-9]+(\.[0-9]*)?")


def read_retry_after(error: Exception) -> float | None:
    """The seconds that an error asks to wait, or None when it does not ask.

    It is read by shape: from a number in `error.retry_after`, else from the `Retry-After` header
    (seconds or a date) of `error.response`, or of the error itself. Of a group of errors it is the
    longest wait that one of them asks for.
    """
    if members := members_of(error):
        waits = map(read_retry_after, members)
        return max((wait for wait in waits if wait is not None), default=None)
    asked: object = getattr(error, "retry_after", None)
    if asked is None:
        response: object = getattr(error, "response", None)
        headers: object = getattr(error if response is None else response, "headers", None)
        read = getattr(headers, "get", None)
        if callable(read):
            asked = read("Retry-After") or read("retry-after")
    if isinstance(asked, str):
        asked = _parse(asked.strip())
    if not isinstance(asked, (int, float)):
        return None
    try:
        seconds = float(asked)
    except OverflowError:  # longer than any wait
        seconds = math.inf if asked > 0 else 0.0
    return None if math.isnan(seconds) else max(0.0, seconds)


def asked_wait(read: Callable[[Exception], float | None], error: Exception) -> float | None:
    """What a policy's `retry_after` reads; one that raises is logged and asks for nothing."""
    try:
        asked = read(error)
        return None if asked is None else float(asked)
    except Exception:
        _logger.exception("retry_after %r raised on %r", read, error)
        return None


def _parse(text: str) -> float | None:
    if _SECONDS.fullmatch(text):
        return float(text)
    from datetime import UTC  # noqa: PLC0415  # rarely needed, long to load
    from email.utils import parsedate_to_datetime  # noqa: PLC0415  # likewise

    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    # One of the three forms of HTTP names no zone, and all mean UTC.
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time()
