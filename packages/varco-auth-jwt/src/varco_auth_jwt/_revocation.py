"""Refuses tokens that were revoked before their time."""

from __future__ import annotations

import time
from inspect import isawaitable, iscoroutine
from threading import Lock
from typing import TYPE_CHECKING, Final, Protocol, cast

from varco_auth_jwt._errors import (
    ClaimMissingError,
    RevocationUnavailableError,
    TokenBuildError,
    TokenRevokedError,
    shown,
)
from varco_auth_jwt._expiring import ExpiringDict

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from datetime import datetime

    from varco_auth_jwt._claims import Clock
    from varco_auth_jwt._token import JsonWebToken

_GRACE: Final = 3600.0


class Denylist(Protocol):
    """Says whether a verified token was revoked; async ones are for `TrustedIssuerRegistry`.

    Whatever it raises, the token is refused.
    """

    def is_revoked(self, token: JsonWebToken) -> bool | Awaitable[bool]:
        """Whether the token, which has a `jti`, was revoked."""
        ...


class InMemoryDenylist:
    """Revoked tokens in the memory of this process; safe to share between threads and tasks."""

    def __init__(self, *, clock: Clock = time.time) -> None:
        self._clock = clock
        # Guarded by the lock when written; a look-up is one atomic dict operation.
        self._revoked: ExpiringDict[tuple[str | None, str], bool] = ExpiringDict()
        self._lock = Lock()

    def revoke(self, jti: str, *, until: datetime, issuer: str | None = None) -> None:
        """Refuse the token of that `jti` until it has expired by itself.

        Args:
            jti: The token's `jti`.
            until: The token's `exp`; the entry is forgotten an hour later, since verifiers have
                leeway.
            issuer: Whose `jti` it is; None for whoever's.

        Raises:
            TokenBuildError: there is no `jti`, or `until` has no time zone.
        """
        if not isinstance(cast("object", jti), str) or not jti:
            raise TokenBuildError(
                f"a token without a jti cannot be revoked, and this one's is {shown(jti)}: build"
                " tokens with .with_random_jti()"
            )
        if until.tzinfo is None:
            raise TokenBuildError(f"until must have a time zone, as the token's exp has: {until}")
        with self._lock:
            self._revoked.set((issuer, jti), True, until.timestamp() + _GRACE, self._clock())

    def is_revoked(self, token: JsonWebToken) -> bool:
        """Whether the token was revoked."""
        jti = token.jti or ""
        return (token.iss, jti) in self._revoked or (None, jti) in self._revoked

    def __len__(self) -> int:
        return len(self._revoked)


def refuse_revoked(token: JsonWebToken, denylist: Denylist) -> None:
    """Raise if the token was revoked, or if that cannot be known."""
    answer = _asked(token, denylist)
    if isawaitable(answer):
        if iscoroutine(answer):
            answer.close()
        raise RevocationUnavailableError(
            "the denylist is async; use it with TrustedIssuerRegistry, or a sync one here"
        )
    _act_on(cast("object", answer))


async def refuse_revoked_async(token: JsonWebToken, denylist: Denylist) -> None:
    """As `refuse_revoked`, of a sync or an async denylist."""
    answer: object = _asked(token, denylist)
    if isawaitable(answer):
        try:
            answer = await answer
        except Exception as error:
            raise RevocationUnavailableError(
                f"the denylist cannot be asked ({type(error).__name__})"
            ) from error
    _act_on(answer)


def _asked(token: JsonWebToken, denylist: Denylist) -> bool | Awaitable[bool]:
    if token.jti is None:
        raise ClaimMissingError("the token has no 'jti' to look up in the denylist", claim="jti")
    try:
        return denylist.is_revoked(token)
    except Exception as error:
        raise RevocationUnavailableError(
            f"the denylist cannot be asked ({type(error).__name__})"
        ) from error


def _act_on(answer: object) -> None:
    if answer is not False:
        raise TokenRevokedError("the token was revoked")
