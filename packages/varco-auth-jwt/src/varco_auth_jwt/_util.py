"""Questions one asks of a token."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from varco_auth_jwt._claims import ACCESS_TYPES, REFRESH_TYPES, type_of
from varco_auth_jwt._token import AUTH_CLAIMS

if TYPE_CHECKING:
    from varco_auth_jwt._claims import Clock
    from varco_auth_jwt._token import JsonWebToken
    from varco_domain.auth import AuthContext

SYSTEM_ISSUER: Final = "varco:system"
"""The issuer of tokens that a system issues to itself."""


class JwtUtil:
    """Answers questions about a token; it does not verify it."""

    __slots__ = ("_clock", "_token")

    def __init__(self, token: JsonWebToken, *, clock: Clock = time.time) -> None:
        self._token = token
        self._clock = clock

    @property
    def token(self) -> JsonWebToken:
        """The token."""
        return self._token

    def is_issuer(self, iss: str) -> bool:
        """Whether `iss` issued the token."""
        return self._token.iss is not None and self._token.iss == iss

    def is_system(self) -> bool:
        """Whether the token was issued by this system to itself (`SYSTEM_ISSUER`)."""
        return self.is_issuer(SYSTEM_ISSUER)

    def is_expired(self) -> bool:
        """Whether the token's time is over; one that names no end counts as over."""
        exp = self._token.exp
        return exp is None or exp.timestamp() <= self._clock()

    def is_valid_now(self) -> bool:
        """Whether the token's time has come and is not over."""
        nbf = self._token.nbf
        return not self.is_expired() and (nbf is None or nbf.timestamp() <= self._clock())

    def is_type(self, token_type: str) -> bool:
        """Whether the token is of that type, compared as RFC 7515 compares `typ`."""
        return type_of(self._token.token_type) == type_of(token_type)

    def is_access_token(self) -> bool:
        """Whether the token is of type `access` or `at+jwt`."""
        return type_of(self._token.token_type) in ACCESS_TYPES

    def is_refresh_token(self) -> bool:
        """Whether the token is of type `refresh` or `rt+jwt`."""
        return type_of(self._token.token_type) in REFRESH_TYPES

    def has_auth_ctx(self) -> bool:
        """Whether the token carries roles, scopes, grants or metadata."""
        return not AUTH_CLAIMS.isdisjoint(self._token.extra_claims)

    def get_auth_ctx(self) -> AuthContext:
        """The `auth_ctx` of the token."""
        return self._token.auth_ctx

    def is_anonymous(self) -> bool:
        """Whether the token is about nobody."""
        return self._token.sub is None

    def is_audience(self, aud: str) -> bool:
        """Whether the token is meant for `aud`."""
        own = self._token.aud
        return aud == own if isinstance(own, str) else own is not None and aud in own
