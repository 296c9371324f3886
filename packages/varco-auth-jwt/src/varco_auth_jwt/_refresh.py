"""Refresh tokens that are good once: using one twice ends the whole family."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from threading import Lock
from typing import TYPE_CHECKING, Final, Protocol

from varco_auth_jwt._claims import seconds
from varco_auth_jwt._errors import (
    AuthJwtError,
    ClaimMissingError,
    RefreshReusedError,
    RefreshUnknownError,
    RevocationUnavailableError,
    TokenBuildError,
)
from varco_auth_jwt._expiring import ExpiringDict

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from varco_auth_jwt._authority import JwtAuthority
    from varco_auth_jwt._claims import Clock, Duration
    from varco_auth_jwt._rotation import MultiKeyAuthority
    from varco_auth_jwt._token import JsonWebToken

REFRESH_TYPE: Final = "rt+jwt"
_FAMILY: Final = "family"


class Swap(StrEnum):
    """What `RefreshStore.swap` found."""

    SWAPPED = "swapped"
    REUSED = "reused"
    UNKNOWN = "unknown"


class RefreshStore(Protocol):
    """Remembers which token of each family is the current one."""

    async def begin(self, family: str, jti: str, expires_at: float) -> None:
        """Remember a new family and its first token."""
        ...

    async def swap(self, family: str, old: str, new: str, expires_at: float) -> Swap:
        """In one atomic step: if `old` is current, make `new` current (SWAPPED).

        If another one is, forget the family (REUSED). Is there no such family: UNKNOWN.
        """
        ...

    async def end(self, family: str) -> None:
        """Forget a family, if it is there."""
        ...


class InMemoryRefreshStore:
    """Families in the memory of this process; safe to share between threads and tasks."""

    def __init__(self, *, clock: Clock = time.time) -> None:
        self._clock = clock
        # Guarded by the lock, under which nothing is awaited.
        self._current: ExpiringDict[str, str] = ExpiringDict()
        self._lock = Lock()

    async def begin(self, family: str, jti: str, expires_at: float) -> None:
        """Remember a new family, and forget those that have expired."""
        with self._lock:
            self._current.set(family, jti, expires_at, self._clock())

    async def swap(self, family: str, old: str, new: str, expires_at: float) -> Swap:
        """See `RefreshStore.swap`."""
        with self._lock:
            current = self._current.get(family)
            if current is None:
                return Swap.UNKNOWN
            if current != old:
                self._current.pop(family)
                return Swap.REUSED
            self._current.set(family, new, expires_at, self._clock())
            return Swap.SWAPPED

    async def end(self, family: str) -> None:
        """Forget a family."""
        with self._lock:
            self._current.pop(family)

    def __len__(self) -> int:
        return len(self._current)


@dataclass(frozen=True, slots=True)
class Rotation:
    """A refresh token that was used, and the one that takes its place."""

    used: JsonWebToken
    token: str = field(repr=False)


class RefreshTokens:
    """Issues refresh tokens and rotates them; safe to share as far as its store is.

    Args:
        authority: Signs and verifies them; they are meant for its issuer only.
        store: Remembers the current token of each family.
        lifetime: How long a refresh token is good, counted anew with each rotation.
        clock: The time in seconds since 1970; the same as the authority's.
    """

    def __init__(
        self,
        authority: JwtAuthority | MultiKeyAuthority,
        store: RefreshStore,
        *,
        lifetime: Duration = timedelta(days=30),
        clock: Clock = time.time,
    ) -> None:
        self._authority = authority
        self._store = store
        self._lifetime = seconds(lifetime, "lifetime")
        if self._lifetime <= 0:
            raise TokenBuildError(f"lifetime must be positive, not {self._lifetime:g} seconds")
        self._clock = clock

    async def issue(self, subject: str) -> str:
        """The first token of a new family: somebody has signed in."""
        family, jti = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        token = self._token(subject, family, jti)
        await _asked(self._store.begin(family, jti, self._end()))
        return token

    async def rotate(self, token: str) -> Rotation:
        """Use a refresh token and get the next one.

        Raises:
            RefreshReusedError: it was used before; its family is revoked.
            RefreshUnknownError: its family is revoked, or forgotten.
            TokenError: it is no good refresh token of this authority.
            RevocationUnavailableError: the store cannot be asked.
        """
        used, family, jti = self._verified(token)
        new = secrets.token_urlsafe(16)
        # Signed before the old one is given up: whoever cannot sign leaves the family as it was.
        following = self._token(used.sub or "", family, new)
        found = await _asked(self._store.swap(family, jti, new, self._end()))
        if found is Swap.SWAPPED:
            return Rotation(used, following)
        if found is Swap.REUSED:
            raise RefreshReusedError("a refresh token came twice; its family is revoked")
        raise RefreshUnknownError("the refresh token's family is revoked or forgotten")

    async def revoke(self, token: str) -> None:
        """Revoke the family of a token: somebody signs out."""
        _, family, _ = self._verified(token)
        await _asked(self._store.end(family))

    def _verified(self, token: str) -> tuple[JsonWebToken, str, str]:
        issuer = self._authority.issuer
        used = self._authority.verify(token, audience=issuer, token_type=REFRESH_TYPE)
        family = used.extra_claims.get(_FAMILY)
        if used.sub is None or used.jti is None or not isinstance(family, str):
            raise ClaimMissingError("a refresh token has 'sub', 'jti' and 'family'", claim=_FAMILY)
        return used, family, used.jti

    def _token(self, subject: str, family: str, jti: str) -> str:
        builder = self._authority.token().type(REFRESH_TYPE).subject(subject).token_id(jti)
        builder.audience(self._authority.issuer).claim(_FAMILY, family)
        return builder.expires_in(self._lifetime).build()

    def _end(self) -> float:
        return self._clock() + self._lifetime


async def _asked[T](answer: Awaitable[T]) -> T:
    try:
        return await answer
    except AuthJwtError:
        raise
    except Exception as error:
        raise RevocationUnavailableError(
            f"the refresh store cannot be asked ({type(error).__name__})"
        ) from error
