"""A token's claims, typed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from varco_auth_jwt._errors import TokenUnverifiedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from varco_domain.auth import AuthContext

REGISTERED: Final = frozenset({"sub", "iss", "aud", "exp", "iat", "nbf", "jti"})
# `typ` values that say no more than "this is a JWT".
PLAIN_TYPES: Final = frozenset({"jwt", "application/jwt"})
# The claims of an `AuthContext`; `scp` is what some providers call `scope`.
AUTH_CLAIMS: Final = frozenset({"roles", "scope", "scopes", "scp", "grants", "metadata"})


@dataclass(frozen=True, slots=True)
class JsonWebToken:
    """The claims of a token: what a builder puts together, or a parser has verified.

    Immutable, but for the values inside `extra_claims`.

    Args:
        token_type: The `typ` of the token's header, or for a plain `JWT` the claim `token_type`;
            None if neither says more.
        extra_claims: Every claim that is none of the registered seven.
    """

    sub: str | None = None
    iss: str | None = None
    aud: str | frozenset[str] | None = None
    exp: datetime | None = None
    iat: datetime | None = None
    nbf: datetime | None = None
    jti: str | None = None
    token_type: str | None = None
    extra_claims: dict[str, Any] = field(default_factory=dict[str, Any], hash=False)

    @property
    def auth_ctx(self) -> AuthContext:
        """The `AuthContext` of the subject, with the roles, scopes and grants that are claimed.

        Without any it still says who the subject is; without a subject it is of nobody.

        Raises:
            ImportError: varco-domain is not installed.
            TokenError: a claim is malformed, or nobody checked the token.
        """
        from varco_auth_jwt._domain import context_of  # noqa: PLC0415  # an extra

        return context_of(self.sub, self.extra_claims)

    def to_claims(self) -> dict[str, Any]:
        """The claims as they stand in the payload: dates in whole seconds, audiences sorted."""
        claims: dict[str, Any] = {}
        for name in ("sub", "iss", "aud", "exp", "iat", "nbf", "jti"):
            value: datetime | frozenset[str] | str | None = getattr(self, name)
            if isinstance(value, datetime):
                claims[name] = int(value.timestamp())
            elif isinstance(value, frozenset):
                claims[name] = sorted(value)
            elif value is not None:
                claims[name] = value
        return claims | self.extra_claims


class UnverifiedToken(JsonWebToken):
    """The claims of a token that nobody checked: fit for a log, and for no decision."""

    __slots__ = ()

    @property
    def auth_ctx(self) -> NoReturn:
        """Refused: nobody knows that the subject is who the token says.

        Raises:
            TokenUnverifiedError: always.
        """
        raise TokenUnverifiedError(
            "nobody checked this token; read it with JwtParser(...).parse before acting on it"
        )

    def __repr__(self) -> str:
        return f"UnverifiedToken(iss={self.iss!r}, sub={self.sub!r}, jti={self.jti!r})"


def date_of(value: Any) -> datetime | None:
    """A NumericDate as a date."""
    return None if value is None else datetime.fromtimestamp(value, UTC)


def token_of[T: JsonWebToken](
    claims: Mapping[str, Any],
    token_type: str | None,
    cls: type[T] = JsonWebToken,  # type: ignore[assignment]  # the default of a type variable is Python 3.13
) -> T:
    """The token of claims whose registered ones are of the right kind."""
    get = claims.get
    aud = get("aud")
    return cls(
        get("sub"),
        get("iss"),
        frozenset(cast("list[str]", aud)) if isinstance(aud, list) else aud,
        date_of(get("exp")),
        date_of(get("iat")),
        date_of(get("nbf")),
        get("jti"),
        token_type,
        {name: claims[name] for name in claims if name not in REGISTERED},
    )
