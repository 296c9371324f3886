"""How long a callee wants to be left alone, as its error says it."""

from __future__ import annotations

import logging
import math
import re
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_logger = logging.getLogger("varco_resilience")
_SECONDS = re.compile(r"[0-9]+(\.[0-9]*)?")


def read_retry_after(error: Exception) -> float | None:
    """The seconds that an error asks to wait, or None when it does not ask.

    It is read by shape: from a number in `error.retry_after`, else from the `Retry-After` header
    (seconds or a date) of `error.response`, or of the error itself.
    """
    asked: object = getattr(error, "retry_after", None)
    if asked is None:
        response: object = getattr(error, "response", None)
        headers: object = getattr(error if response is None else response, "headers", None)
        read = getattr(headers, "get", None)
        if callable(read):
            asked = read("Retry-After") or read("retry-after")
    if isinstance(asked, str):
        asked = _parse(asked.strip())
    if isinstance(asked, (int, float)) and not math.isnan(asked):
        return max(0.0, float(asked))
    return None


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
    from email.utils import parsedate_to_datetime  # noqa: PLC0415  # rarely needed, long to load

    try:
        return parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
