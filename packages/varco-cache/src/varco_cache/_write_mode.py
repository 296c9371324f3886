"""Where a layered cache writes."""

from enum import StrEnum


class WriteMode(StrEnum):
    """Where `LayeredCache.set` writes."""

    WRITE_THROUGH = "write-through"
    """Every layer, before it returns; a layer that is down forgets the key instead."""

    WRITE_AROUND = "write-around"
    """The last layer, and the others forget the key; all of them when the last one is down."""

    WRITE_BACK = "write-back"
    """The first layers at once, the last one in the background: lost if the process dies first."""
