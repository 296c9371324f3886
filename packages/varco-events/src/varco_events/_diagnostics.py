"""Text about errors that every store, log and line can take."""

from __future__ import annotations

import re
from typing import Final

#: How many characters of an error message are kept.
MAX_MESSAGE: Final = 4000

# What a text column, JSON or a terminal may refuse: controls but tab and newline, lone surrogates,
# and the two non-characters.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


def clean(text: str, limit: int = MAX_MESSAGE) -> str:
    """`text` without what some store could not keep, and no longer than `limit`.

    What is taken out is written as U+FFFD; what is cut is said.
    """
    if len(text) > limit:
        cut = f"... ({len(text)} characters)"
        text = text[: max(limit - len(cut), 0)] + cut[:limit]
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text)


def message_of(error: BaseException) -> str:
    """The message of `error`, cleaned; also of one whose `__str__` fails."""
    try:
        return clean(str(error))
    except Exception:  # noqa: BLE001  # an error about an error must not hide it
        return "(its message cannot be read)"


def describe(error: BaseException) -> str:
    """The type and the message of `error`, cleaned: for logs and `last_error`."""
    return clean(f"{type(error).__qualname__}: {message_of(error)}")
