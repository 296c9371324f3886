"""Cursors and continuations: where a list or an action goes on, as text that travels in a URL."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Self

from pydantic import TypeAdapter

from varco_events._errors import FailureTokenError

if TYPE_CHECKING:
    from varco_events._failures import FailureFilter

_LONGEST = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """Where something goes on.

    Attributes:
        purpose: What goes on, and in which order; another thing cannot.
        wanted: A digest of the filter; another filter cannot go on here.
        after: The position of the last that was seen.
        until: The mark that the action ends at.
        seen: How many were seen.
        total: How many there were.
        held: Digests of the keys that are held back.
    """

    purpose: str
    wanted: str
    after: str | None = None
    until: str | None = None
    seen: int = 0
    total: int = 0
    held: tuple[str, ...] = ()

    @classmethod
    def of(cls, purpose: str, wanted: FailureFilter) -> Self:
        """One that begins."""
        return cls(purpose=purpose, wanted=_digest(wanted.named()))

    def read(self, text: str) -> Self:
        """What `text` says, if it goes on with this.

        Raises:
            FailureTokenError: it is none, or one of something else.
        """
        if len(text) > _LONGEST:
            raise FailureTokenError(self.purpose, "it is too long")
        try:
            made = TypeAdapter(type(self)).validate_json(base64.urlsafe_b64decode(text))
        except ValueError as error:
            raise FailureTokenError(self.purpose, "it was not made here") from error
        if (made.purpose, made.wanted) != (self.purpose, self.wanted):
            raise FailureTokenError(self.purpose, "it is of another list, action or filter")
        return made

    def write(self) -> str:
        """The text."""
        return base64.urlsafe_b64encode(json.dumps(asdict(self)).encode()).decode()


def digest_of_key(key: str, handler: str, consumer_group: str) -> str:
    """What stands for a key of one handler in a token."""
    return _digest([key, handler, consumer_group])


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return sha256(text.encode()).hexdigest()[:16]
