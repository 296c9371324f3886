"""What may be told of keys: names and ages, never the keys."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyState:
    """What may be told of one key.

    Attributes:
        kid: Its name; None of a published key that has none.
        algorithm: What it signs with; None when the key does not say.
        signs: Whether it is the one that signs.
        age: Seconds since it was made; None where nobody said when.
        ends_in: Seconds until it verifies nothing any more; None when that is not known.
    """

    kid: str | None
    algorithm: str | None = None
    signs: bool = False
    age: float | None = None
    ends_in: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchState:
    """How keys that come from elsewhere were fetched last.

    Attributes:
        ago: Seconds since they were fetched; None when they never were.
        next_in: Seconds until they are fetched next at the earliest; 0 when it is time.
        error: Why the last fetch failed; None when it did not.
    """

    ago: float | None
    next_in: float
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerState:
    """What may be told of an issuer and its keys, as of one moment.

    Attributes:
        label: What its registry calls it; the issuer where it is in none.
        issuer: What its tokens call it.
        source: Where its keys come from.
        keys: Those that verify, the one that signs first.
        fetch: How they were fetched; None of keys that are here.
        rotation_due_in: Seconds until its key is to be replaced, negative when that is overdue;
            None where nobody said how old a key may grow.
    """

    label: str
    issuer: str
    source: str
    keys: tuple[KeyState, ...]
    fetch: FetchState | None = None
    rotation_due_in: float | None = None
