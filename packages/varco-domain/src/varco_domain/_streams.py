"""Streams that are closed when their reader stops."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def closing[T](stream: AsyncIterator[T]) -> AsyncGenerator[AsyncIterator[T]]:
    """Close a stream at the end of the block, if it is one that can be closed."""
    try:
        yield stream
    finally:
        close: Any = getattr(stream, "aclose", None)
        if close is not None:
            await close()
