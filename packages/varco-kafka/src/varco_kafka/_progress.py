"""How far a group is in a partition: what the committed offset says, and what it cannot say."""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from copy import deepcopy

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
        restored_to: What is below it may have been begun by another process.
    """

    def __init__(self, base: int, text: str = "") -> None:
        """Go on from what was committed; a text that somebody else wrote says nothing.

        Args:
            base: The committed offset.
            text: What was committed beside it.
        """
        # Of each from `_first` on; those that are done are left behind when somebody asks for more.
        self._first = base
        self._states = bytearray(_decoded(text))
        self.restored_to: int = base + len(self._states)

    @property
    def base(self) -> int:
        """The first unfinished event."""
        self._advance()
        return self._first

    @property
    def next(self) -> int:
        """The first event of which nothing is known."""
        return self._first + len(self._states)

    def is_done(self, offset: int) -> bool:
        """Whether the event need not be handled any more."""
        at = offset - self._first
        return at < 0 or (at < len(self._states) and self._states[at] == _DONE)

    def attempts(self, offset: int) -> int:
        """How often it was begun and not given back."""
        at = offset - self._first
        return self._states[at] if 0 <= at < len(self._states) else 0

    def skip_to(self, offset: int) -> None:
        """There is nothing between what is known and `offset`: it was compacted, or is too old."""
        missing = offset - self.next
        if missing > 0:
            self._states.extend(bytes([_DONE]) * missing)

    def begun(self, offset: int, attempts: int) -> None:
        """It was begun so often, or given back."""
        at, states = offset - self._first, self._states
        if at > len(states):
            self.skip_to(offset)
        if at == len(states):
            states.append(0)
        if at >= 0 and states[at] != _DONE:
            states[at] = min(attempts, _MOST_ATTEMPTS)

    def done(self, offset: int) -> None:
        """It was handled, or dead-lettered."""
        at = offset - self._first
        if at >= len(self._states):
            self.begun(offset, 0)
        if at >= 0:
            self._states[at] = _DONE

    def after(self, offset: int) -> Progress:
        """The same when this one is done as well."""
        later = deepcopy(self)
        later.done(offset)
        return later

    def text(self, ahead: int = 0) -> str:
        """What is committed beside `base`.

        What finds no room is forgotten from its end on: it is repeated, as if it were not done.

        Args:
            ahead: How many events after the last known are held to be begun once, because they
                will be without another commit.
        """
        self._advance()
        states = bytes(self._states) if ahead else bytes(self._states).rstrip(b"\0")
        states += b"\1" * ahead
        while True:
            text = _encoded(states)
            if len(text) <= MOST_METADATA:
                return text
            states = states[: len(states) * 3 // 4]

    def _advance(self) -> None:
        """Leave behind what is done before the first unfinished."""
        if self._states and self._states[0] == _DONE:
            done = len(self._states) - len(self._states.lstrip(bytes([_DONE])))
            del self._states[:done]
            self._first += done


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
