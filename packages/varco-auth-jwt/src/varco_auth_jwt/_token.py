"""A token's claims, typed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from varco_auth_jwt._errors import TokenBuildError, TokenUnverifiedError, shown

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
        auth_ctx: Whose token it is: its roles, scopes and grants become claims, and its user the
            subject unless `sub` is given; needs varco-domain.
        extra_claims: Every claim that is none of the registered seven.

    Raises:
        TokenBuildError: `auth_ctx` is of another subject, or has what no claim can carry.
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

    def __init__(
        self,
        sub: str | None = None,
        iss: str | None = None,
        aud: str | frozenset[str] | None = None,
        exp: datetime | None = None,
        iat: datetime | None = None,
        nbf: datetime | None = None,
        jti: str | None = None,
        token_type: str | None = None,
        auth_ctx: AuthContext | None = None,
        extra_claims: dict[str, Any] | None = None,
    ) -> None:
        if auth_ctx is not None:
            from varco_auth_jwt._domain import claims_of  # noqa: PLC0415  # an extra

            if sub is not None and auth_ctx.user_id not in {None, sub}:
                raise TokenBuildError(
                    f"the token is about {shown(sub)}, and the context about"
                    f" {shown(auth_ctx.user_id)}"
                )
            sub = auth_ctx.user_id if sub is None else sub
            extra_claims = claims_of(auth_ctx) | (extra_claims or {})
        put = object.__setattr__
        put(self, "sub", sub)
        put(self, "iss", iss)
        put(self, "aud", aud)
        put(self, "exp", exp)
        put(self, "iat", iat)
        put(self, "nbf", nbf)
        put(self, "jti", jti)
        put(self, "token_type", token_type)
        put(self, "extra_claims", {} if extra_claims is None else extra_claims)

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
        None,
        {name: claims[name] for name in claims if name not in REGISTERED},
    )
