"""Puts tokens together and signs them."""

from __future__ import annotations

import secrets
import time
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn, Self, cast, overload

from varco_auth_jwt._algorithms import algorithm_named
from varco_auth_jwt._claims import LAST_DATE, names_of, seconds
from varco_auth_jwt._codec import b64encode, json_bytes
from varco_auth_jwt._errors import InvalidKeyError, TokenBuildError, shown
from varco_auth_jwt._jwk import JsonWebKey, key_given, refuse_pickling
from varco_auth_jwt._prepare import KEYS_REMEMBERED, prepare, secret_bytes, secret_key
from varco_auth_jwt._token import REGISTERED, JsonWebToken, token_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from varco_auth_jwt._claims import Clock, Duration
    from varco_auth_jwt._prepare import PreparedKey
    from varco_domain.auth import AuthContext


type Sign = Callable[[dict[str, Any], str | None], str]


class Signer:
    """Signs with one key; immutable and safe to share between threads and tasks."""

    __slots__ = ("_headers", "_key", "_model", "_names")

    def __init__(self, key: PreparedKey) -> None:
        if len(key.algorithms) != 1:
            raise InvalidKeyError(
                f"key {shown(key.kid)} fits {', '.join(key.algorithms)}: name the one to sign with"
            )
        ((name, (model, native)),) = key.algorithms.items()
        self._names: dict[str, Any] = {"alg": name} | ({"kid": key.kid} if key.kid else {})
        self._model = model
        self._key = native
        # Encoded headers by type. Single dict operations; losing one costs an encoding.
        self._headers: dict[str | None, bytes] = {}

    def sign(self, claims: dict[str, Any], typ: str | None) -> str:
        """The signed compact form of the claims."""
        head = self._headers.get(typ)
        if head is None:
            head = b64encode(json_bytes({**self._names, "typ": typ or "JWT"}))
            if len(self._headers) < 16:  # noqa: PLR2004  # types are few; a made-up one is not kept
                self._headers[typ] = head
        try:
            payload = json_bytes(claims)
        except (ValueError, TypeError, RecursionError) as error:
            raise TokenBuildError(
                f"JSON cannot hold the claims: {type(error).__name__}: {str(error)[:80]}"
            ) from None
        signing_input = head + b"." + b64encode(payload)
        signature = self._model.sign(signing_input, self._key)
        return (signing_input + b"." + b64encode(signature)).decode()

    def __reduce__(self) -> NoReturn:
        refuse_pickling(self)


class JwtBuilder[Built: (str, JsonWebToken)]:
    """Puts a token together; with a secret or a key, `build` signs it.

    A builder belongs to one thread or task; it may be built from several times.

    Args:
        secret: A shared secret for HMAC; under 256 bits it warns once, and is refused if `strict`.
        key: A private key instead of a secret.
        algorithm: What to sign with; by default the key's own (HS256 for a secret).
        strict: Refuse short secrets instead of warning.
        clock: The time in seconds since 1970.

    Raises:
        InvalidKeyError: the key cannot sign, or does not fit `algorithm`.
    """

    @overload
    def __init__(
        self: JwtBuilder[JsonWebToken],
        secret: None = None,
        *,
        key: None = None,
        clock: Clock = time.time,
    ) -> None: ...
    @overload
    def __init__(
        self: JwtBuilder[str],
        secret: str | bytes,
        *,
        algorithm: str | None = None,
        strict: bool = False,
        clock: Clock = time.time,
    ) -> None: ...
    @overload
    def __init__(
        self: JwtBuilder[str],
        secret: None = None,
        *,
        key: JsonWebKey,
        algorithm: str | None = None,
        strict: bool = False,
        clock: Clock = time.time,
    ) -> None: ...
    def __init__(
        self,
        secret: str | bytes | None = None,
        *,
        key: JsonWebKey | None = None,
        algorithm: str | None = None,
        strict: bool = False,
        clock: Clock = time.time,
    ) -> None:
        if secret is not None and key is not None:
            raise InvalidKeyError("a builder takes a secret or a key, and not both")
        self._sign: Sign | None = None
        given = secret if key is None else key_given(key)
        if given is not None:
            self._sign = signer_of(given, algorithm, strict=strict).sign
        elif algorithm is not None:
            raise InvalidKeyError(f"there is no key to sign with {shown(algorithm)}")
        self._clock = clock
        self._claims: dict[str, Any] = {}
        self._extra: dict[str, Any] = {}
        self._lifetime: float | None = None
        self._type: str | None = None

    @classmethod
    def signed_by(cls, sign: Sign, *, clock: Clock = time.time) -> JwtBuilder[str]:
        """A builder whose `build` hands claims and type to `sign`."""
        builder = cast("JwtBuilder[str]", JwtBuilder(clock=clock))
        builder._sign = sign  # noqa: SLF001  # its own class
        return builder

    def subject(self, sub: str) -> Self:
        """Set who the token is about."""
        return self._set("sub", _text("sub", sub))

    def issuer(self, iss: str) -> Self:
        """Set who issues the token."""
        return self._set("iss", _text("iss", iss))

    def audience(self, aud: str | Collection[str]) -> Self:
        """Set who the token is meant for, one or several."""
        if isinstance(aud, str):
            return self._set("aud", _text("aud", aud))
        return self._set("aud", sorted(names_of(aud, "audience")))

    def expires_at(self, exp: datetime) -> Self:
        """Set when the token ends."""
        self._lifetime = None
        return self._set("exp", _date("exp", exp))

    def expires_in(self, delta: Duration) -> Self:
        """Set how long the token lives from when it is built: seconds or a timedelta."""
        self._claims.pop("exp", None)
        self._lifetime = seconds(delta, "expires_in")
        return self

    def issued_at(self, iat: datetime) -> Self:
        """Set when the token was issued; by default that is when it is signed."""
        return self._set("iat", _date("iat", iat))

    def issued_now(self) -> Self:
        """Set that the token is issued now."""
        return self._set("iat", _whole("iat", self._clock()))

    def not_before(self, nbf: datetime) -> Self:
        """Set from when on the token is valid."""
        return self._set("nbf", _date("nbf", nbf))

    def token_id(self, jti: str) -> Self:
        """Set the token's identifier."""
        return self._set("jti", _text("jti", jti))

    def with_random_jti(self) -> Self:
        """Give the token an identifier of 128 random bits."""
        return self.token_id(secrets.token_urlsafe(16))

    def type(self, token_type: str) -> Self:
        """Set the header's `typ`, such as `at+jwt`."""
        self._type = _text("typ", token_type)
        return self

    def with_auth_ctx(self, ctx: AuthContext) -> Self:
        """Set what an `AuthContext` says: its user as the subject, roles, scopes and grants.

        Raises:
            TokenBuildError: the subject is somebody else already.
        """
        from varco_auth_jwt._domain import claims_of  # noqa: PLC0415  # an extra

        if ctx.user_id is not None:
            if self._claims.get("sub", ctx.user_id) != ctx.user_id:
                raise TokenBuildError(
                    f"the token is about {shown(self._claims['sub'])}, and the context about"
                    f" {shown(ctx.user_id)}"
                )
            self.subject(ctx.user_id)
        self._extra |= claims_of(ctx)
        return self

    def claim(self, key: str, value: Any) -> Self:
        """Set a claim of your own; the registered ones have methods."""
        if _text("name", key) in REGISTERED:
            raise TokenBuildError(f"{key!r} is a registered claim; use the builder's method for it")
        self._extra[key] = value
        return self

    def build(self) -> Built:
        """The signed token; without a secret or a key, the unsigned `JsonWebToken`.

        Raises:
            TokenBuildError: JSON cannot hold a claim.
        """
        built: Any
        if self._sign is None:
            built = token_of(self._claims_at(self._clock()), self._type)
        else:
            built = self._sign(self.to_claims(), self._type)
        return cast("Built", built)

    def encode(self, secret: str | bytes | JsonWebKey, *, algorithm: str | None = None) -> str:
        """Sign with this secret or key, whatever the builder itself would sign with."""
        return self.signed_with(signer_of(secret, algorithm).sign)

    def signed_with(self, sign: Sign) -> str:
        """What `sign` makes of the claims and the type."""
        return sign(self.to_claims(), self._type)

    def to_claims(self) -> dict[str, Any]:
        """The claims that would be signed now, the time of issue among them."""
        now = self._clock()
        claims = self._claims_at(now)
        if "iat" not in claims:
            claims["iat"] = _whole("iat", now)
        return claims

    def _claims_at(self, now: float) -> dict[str, Any]:
        claims = self._claims | self._extra
        if self._lifetime is not None:
            claims["exp"] = _whole("exp", now + self._lifetime)
        return claims

    def _set(self, name: str, value: object) -> Self:
        self._claims[name] = value
        return self

    def __repr__(self) -> str:
        return f"JwtBuilder({', '.join(sorted(self._claims))})"

    def __reduce__(self) -> NoReturn:
        refuse_pickling(self)


def signer_of(
    key: str | bytes | JsonWebKey, algorithm: str | None = None, *, strict: bool = False
) -> Signer:
    """The signer of a secret or a key."""
    name = None if algorithm is None else algorithm_named(algorithm).name
    return _signer(key if isinstance(key, JsonWebKey) else secret_bytes(key), name, strict)


# What a caller of `encode` gives with each token is looked at once.
@lru_cache(maxsize=KEYS_REMEMBERED)
def _signer(key: bytes | JsonWebKey, algorithm: str | None, strict: bool) -> Signer:
    if isinstance(key, bytes):
        key = secret_key(key, algorithm=algorithm or "HS256")
    algorithms = None if algorithm is None else (algorithm,)
    return Signer(prepare(key, "sign", algorithms=algorithms, strict=strict))


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TokenBuildError(f"claim {name!r} must be a string, not {shown(value)}")
    return value


def _date(name: str, value: object) -> int:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise TokenBuildError(
            f"claim {name!r} must be a datetime with a time zone, such as datetime.now(UTC),"
            f" not {shown(value)}"
        )
    return _whole(name, value.timestamp())


def _whole(name: str, value: float) -> int:
    """Seconds as they stand in a claim."""
    if not 0 <= value <= LAST_DATE:
        raise TokenBuildError(f"claim {name!r} must lie between the years 1970 and 9999")
    return int(value)
