"""How far a group is in a partition: what the committed offset says, and what it cannot say."""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode

_DONE = 255
# An attempt above it is not told from it.
_MOST_ATTEMPTS = 250
_VERSION = "v1:"
#: The least that servers take as `offset.metadata.max.bytes` unless they are told otherwise.
MOST_METADATA = 4096


class Progress:
    """What became of each event from the first unfinished one on.

    The offset that is committed is that of the first unfinished event, and the text beside it says
    of the later ones which are done and how often the others were begun: a process that takes over
    repeats nothing that is known to be done, and knows what others may have died of.

    Attributes:
        base: The first unfinished event.
        restored_to: What is below it may have been begun by another process.
    """

    def __init__(self, base: int, text: str = "") -> None:
        """Go on from what was committed; a text that somebody else wrote says nothing.

        Args:
            base: The committed offset.
            text: What was committed beside it.
        """
        self.base = base
        self._states = bytearray(_decoded(text))
        self.restored_to: int = base + len(self._states)
        self._advance()

    @property
    def next(self) -> int:
        """The first event of which nothing is known."""
        return self.base + len(self._states)

    def is_done(self, offset: int) -> bool:
        """Whether the event need not be handled any more."""
        at = offset - self.base
        return at < 0 or (at < len(self._states) and self._states[at] == _DONE)

    def attempts(self, offset: int) -> int:
        """How often it was begun and not given back."""
        at = offset - self.base
        return self._states[at] if 0 <= at < len(self._states) else 0

    def skip_to(self, offset: int) -> None:
        """There is nothing between what is known and `offset`: it was compacted, or is too old."""
        missing = offset - self.next
        if missing > 0:
            self._states.extend(bytes([_DONE]) * missing)
            self._advance()

    def begun(self, offset: int, attempts: int) -> None:
        """It was begun so often, or given back."""
        self.skip_to(offset)
        at = offset - self.base
        if at == len(self._states):
            self._states.append(0)
        if at >= 0 and self._states[at] != _DONE:
            self._states[at] = min(attempts, _MOST_ATTEMPTS)

    def done(self, offset: int) -> None:
        """It was handled, or dead-lettered."""
        self.begun(offset, 0)
        at = offset - self.base
        if at >= 0:
            self._states[at] = _DONE
            if at == 0:
                self._advance()

    def text(self, ahead: int = 0) -> str:
        """What is committed beside `base`.

        What finds no room is forgotten from its end on: it is repeated, as if it were not done.

        Args:
            ahead: How many events after the last known are held to be begun once, because they
                will be without another commit.
        """
        states = bytes(self._states).rstrip(b"\0") if not ahead else bytes(self._states)
        states += b"\1" * ahead
        while True:
            text = _encoded(states)
            if len(text) <= MOST_METADATA:
                return text
            states = states[: len(states) * 3 // 4]

    def _advance(self) -> None:
        """Leave behind what is done before the first unfinished."""
        done = len(self._states) - len(self._states.lstrip(bytes([_DONE])))
        if done:
            del self._states[:done]
            self.base += done


def _encoded(states: bytes) -> str:
    return _VERSION + b64encode(zlib.compress(states, 1)).decode() if states else ""


def _decoded(text: str) -> bytes:
    if not text.startswith(_VERSION):
        return b""
    try:
        reader = zlib.decompressobj()
        states = reader.decompress(b64decode(text.removeprefix(_VERSION), validate=True), 1 << 20)
    except (ValueError, zlib.error):
        return b""
    return states if reader.eof else b""
