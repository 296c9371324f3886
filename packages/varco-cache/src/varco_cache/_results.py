"""What may be kept of what a loader returns: not what can be used only once."""

from __future__ import annotations

import io
from types import CoroutineType, GeneratorType
from typing import Any

from varco_cache._errors import CacheUsageError
from varco_cache._identity import class_of

_ONCE = ("__next__", "__anext__", "__await__")


def checked_result(key: object, value: Any) -> Any:
    """The result of a load, if a second caller could use it as well as the first.

    Raises:
        CacheUsageError: It is an iterator, something to await or an open file; what Python itself
            made is closed, since nobody gets it.
    """
    kind = class_of(value)
    is_file = isinstance(value, io.IOBase) or any(
        isinstance(getattr(value, name, None), io.IOBase)
        for name in ("file", "wrapped")  # a temporary file's, and one of anyio
        if name in getattr(value, "__dict__", ()) or isinstance(getattr(kind, name, None), property)
    )
    if not is_file and not any(hasattr(kind, name) for name in _ONCE):
        return value
    if isinstance(value, CoroutineType | GeneratorType | io.IOBase):
        value.close()
    raise CacheUsageError(
        f"the load of {key!r} returned a {kind.__qualname__!r}, which can be used only once: "
        f"return what it gives, such as a list, the awaited value or the bytes"
    )
