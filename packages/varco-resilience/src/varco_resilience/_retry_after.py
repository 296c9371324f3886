"""How long a callee wants to be left alone, as its error says it."""

from __future__ import annotations

import math
import time


def read_retry_after(error: Exception) -> float | None:
    """The seconds that an error asks to wait, or None when it does not ask.

    It is read by shape: from a number in `error.retry_after`, else from the `Retry-After` header
    (seconds or a date) of `error.response`.
    """
    asked: object = getattr(error, "retry_after", None)
    if asked is None:
        response: object = getattr(error, "response", None)
        if response is None:
            return None
        read = getattr(getattr(response, "headers", None), "get", None)
        asked = read("Retry-After") if callable(read) else None
    if isinstance(asked, str):
        asked = _parse(asked.strip())
    if isinstance(asked, (int, float)) and not math.isnan(asked):
        return max(0.0, float(asked))
    return None


def _parse(text: str) -> float | None:
    if text.isascii() and text.isdigit():
        return float(text)
    from email.utils import parsedate_to_datetime  # noqa: PLC0415  # rarely needed, long to load

    try:
        return parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
