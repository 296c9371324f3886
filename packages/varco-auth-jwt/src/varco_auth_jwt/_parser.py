"""Verifies tokens."""

from __future__ import annotations

import logging
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, overload

from varco_auth_jwt._algorithms import algorithm_named
from varco_auth_jwt._claims import Policies, check_texts, numeric_date, policy_of
from varco_auth_jwt._errors import InvalidKeyError, shown
from varco_auth_jwt._jwk import JsonWebKey, key_given, refuse_pickling
from varco_auth_jwt._jwk_set import JsonWebKeySet, usable
from varco_auth_jwt._keyring import (
    MAX_SIZE,
    KeyRing,
    ascii_token,
    checked_size,
    decode_part,
    split_compact,
    type_in,
)
from varco_auth_jwt._prepare import KEYS_REMEMBERED, prepare, secret_bytes, secret_key
from varco_auth_jwt._revocation import refuse_revoked
from varco_auth_jwt._token import PLAIN_TYPES, UnverifiedToken, token_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from varco_auth_jwt._claims import ClaimsPolicy, Clock, Duration
    from varco_auth_jwt._jwe import JweCipher
    from varco_auth_jwt._prepare import PreparedKey
    from varco_auth_jwt._revocation import Denylist
    from varco_auth_jwt._token import JsonWebToken

# What the claim `token_type` says of a token that is of no type of its own.
_NO_TYPES: Final = frozenset({"", "bearer", *PLAIN_TYPES})
# For `JwtParser.parse` on the class.
_POLICIES: Final = Policies()


class _ParseWithSecret(Protocol):
    """`JwtParser.parse` as it is called on the class."""

    def __call__(
        self,
        token: str | bytes,
        secret: str | bytes | JsonWebKey | None = None,
        *,
        algorithms: Collection[str] | None = None,
        audience: str | Collection[str] | None = None,
        token_type: str | Collection[str] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> JsonWebToken:
        """Verify one token."""
        ...


class _Parse:
    """One name for two calls: on a parser, and with a secret on the class."""

    @overload
    def __get__(self, instance: None, owner: type[JwtParser]) -> _ParseWithSecret: ...
    @overload
    def __get__(
        self, instance: JwtParser, owner: type[JwtParser]
    ) -> Callable[[str | bytes], JsonWebToken]: ...
    def __get__(self, instance: JwtParser | None, owner: type[JwtParser]) -> Any:
        return _parse_once if instance is None else instance.verify


def _parse_once(
    token: str | bytes,
    secret: str | bytes | JsonWebKey | None = None,
    *,
    algorithms: Collection[str] | None = None,
    audience: str | Collection[str] | None = None,
    token_type: str | Collection[str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> JsonWebToken:
    """Verify one token; `JwtParser.parse` on the class is this."""
    key, text = (secret, None) if isinstance(secret, JsonWebKey) else (None, secret)
    ring = _ring_of(text, key, algorithms, strict=False)
    policies = _POLICIES if options is None else _policies_with(options)
    return verified(ring, policies, token, audience, token_type)


def _policies_with(options: Mapping[str, Any]) -> Policies:
    """The policies with PyJWT's `options`, as far as they ask for more and not for less."""
    for name, value in options.items():
        if name != "require" and not (name.startswith("verify_") and value is True):
            raise ValueError(
                f"options={{{name!r}: {shown(value)}}} cannot be had: no check of a token can be "
                "turned off; JwtParser(leeway=..., required=...) sets limits, and "
                "parse_unverified reads a token that nobody checked"
            )
    return Policies(required=("exp", *options.get("require", ())))


class JwtParser:
    """Verifies tokens against one secret, one key or one set of keys.

    Immutable and safe to share between threads and tasks. Whatever is wrong with a token, `parse`
    raises a `TokenError` and nothing else.

    Args:
        secret: A shared secret for HMAC; under 256 bits it warns once, and is refused if `strict`.
        key: A key or a set of keys instead of a secret.
        algorithms: The algorithms to accept; by default the one of each key (HS256 for a secret).
        issuer: Who may have issued the token; required and compared if given.
        audience: Who the token may be meant for: one of these must stand in `aud`. A token that
            names an audience is refused if none is given here.
        leeway: How far the clocks of issuer and verifier may differ.
        required: Claims that must be there.
        max_age: How long ago the token may have been issued.
        token_type: The `typ` to accept. By default none, `JWT`, `access` and `at+jwt`, so that a
            refresh token is not taken for an access token.
        max_size: Longer tokens are refused before anything of them is decoded.
        decryption_key: If given, only encrypted tokens are accepted; the signed one is inside.
        denylist: Asked for every token that is good otherwise; see `Denylist`.
        strict: Refuse short secrets instead of warning.
        clock: The time in seconds since 1970.

    Raises:
        InvalidKeyError: there is no key, or one does not fit `algorithms`.
    """

    __slots__ = ("_cipher", "_denylist", "_max_size", "_policy", "_ring")

    def __init__(
        self,
        secret: str | bytes | None = None,
        *,
        key: JsonWebKey | JsonWebKeySet | None = None,
        algorithms: Collection[str] | None = None,
        issuer: str | Collection[str] | None = None,
        audience: str | Collection[str] | None = None,
        leeway: Duration = 0,
        required: Collection[str] = ("exp",),
        max_age: Duration | None = None,
        token_type: str | Collection[str] | None = None,
        max_size: int = MAX_SIZE,
        decryption_key: JsonWebKey | None = None,
        denylist: Denylist | None = None,
        strict: bool = False,
        clock: Clock = time.time,
    ) -> None:
        self._cipher: JweCipher | None = None
        if decryption_key is not None:
            from varco_auth_jwt._jwe import JweCipher  # noqa: PLC0415  # few tokens are encrypted

            self._cipher = JweCipher(decryption_key, max_size=max_size)
        self._denylist = denylist
        self._ring = _ring_of(secret, key, algorithms, strict=strict)
        self._max_size = checked_size(max_size)
        self._policy: ClaimsPolicy = policy_of(
            issuer=issuer,
            audience=audience,
            leeway=leeway,
            required=required,
            max_age=max_age,
            token_type=token_type,
            clock=clock,
        )

    parse: _Parse = _Parse()

    def verify(self, token: str | bytes) -> JsonWebToken:
        """Verify a token; `parse` on an instance is this."""
        if self._cipher is not None:
            token = self._cipher.decrypt(token)
        compact = split_compact(ascii_token(token, self._max_size))
        typ = self._ring.check(compact)
        accepted_token = accepted(compact.payload, typ, self._policy)
        if self._denylist is not None:
            refuse_revoked(accepted_token, self._denylist)
        return accepted_token

    @classmethod
    def parse_unverified(cls, token: str | bytes) -> UnverifiedToken:
        """Read a token without checking anything but its form."""
        compact = split_compact(ascii_token(token, MAX_SIZE))
        typ = type_in(decode_part(compact.header, "header"))
        claims = decode_part(compact.payload, "payload")
        check_texts(claims)
        for name in ("exp", "iat", "nbf"):
            numeric_date(claims, name)
        claims, typ = _typed(claims, typ)
        return token_of(claims, _shown_type(typ), UnverifiedToken)

    def __repr__(self) -> str:
        return f"JwtParser(kids={sorted(self._ring.kids)})"

    def __reduce__(self) -> NoReturn:
        refuse_pickling(self)


def verified(
    ring: KeyRing,
    policies: Policies,
    token: str | bytes,
    audience: str | Collection[str] | None,
    token_type: str | Collection[str] | None,
) -> JsonWebToken:
    """Verify by a key ring and a policy."""
    policy = policies.of(audience, token_type)
    compact = split_compact(ascii_token(token, MAX_SIZE))
    return accepted(compact.payload, ring.check(compact), policy)


def accepted(payload: bytes, typ: str | None, policy: ClaimsPolicy) -> JsonWebToken:
    """The token of a payload whose signature is good, if the policy takes its claims."""
    return accepted_claims(decode_part(payload, "payload"), typ, policy)


def accepted_claims(claims: dict[str, Any], typ: str | None, policy: ClaimsPolicy) -> JsonWebToken:
    """As `accepted`, of a payload that was read already."""
    if "token_type" in claims:
        claims, typ = _typed(claims, typ)
    policy.check_type(typ)
    policy.check(claims)
    return token_of(claims, _shown_type(typ))


def _typed(claims: dict[str, Any], typ: str | None) -> tuple[dict[str, Any], str | None]:
    """Claims and type of a token that says its type in a claim, as those of varco-core 1.0.6 do.

    A `typ` that says more than "JWT" is the type; "Bearer" says how the token is sent.
    """
    said = claims.get("token_type")
    if _shown_type(typ) is not None or not isinstance(said, str) or said.lower() in _NO_TYPES:
        return claims, typ
    return {name: value for name, value in claims.items() if name != "token_type"}, said


def _shown_type(typ: str | None) -> str | None:
    """A header's `typ` as `token_type`: None for a plain JWT."""
    return None if typ is None or typ.lower() in PLAIN_TYPES else typ


def _ring_of(
    secret: str | bytes | None,
    key: JsonWebKey | JsonWebKeySet | None,
    algorithms: Collection[str] | None,
    *,
    strict: bool,
) -> KeyRing:
    if (secret is None) == (key is None):
        raise InvalidKeyError(
            "a verifier needs a secret or a key, and not both: JwtParser(secret=...) or"
            " JwtParser(key=...); JwtParser.parse_unverified reads without checking"
        )
    if isinstance(algorithms, str):
        raise InvalidKeyError(f"algorithms must be a list, e.g. [{algorithms!r}]")
    names = None
    if algorithms is not None:
        names = tuple(algorithm_named(name).name for name in algorithms)
    if isinstance(key, JsonWebKeySet):
        return _ring_of_set(key, names, strict=strict)
    return _ring_of_one(secret_bytes(secret) if key is None else key_given(key), names, strict)


# What a caller of `JwtParser.parse` gives with each token is looked at once.
@lru_cache(maxsize=KEYS_REMEMBERED)
def _ring_of_one(
    key: bytes | JsonWebKey, algorithms: tuple[str, ...] | None, strict: bool
) -> KeyRing:
    keys = [key] if isinstance(key, JsonWebKey) else []
    if isinstance(key, bytes):
        keys = [secret_key(key, algorithm=name) for name in algorithms or ("HS256",)]
    return KeyRing(prepare(one, "verify", algorithms=algorithms, strict=strict) for one in keys)


def _ring_of_set(
    keys: JsonWebKeySet, algorithms: tuple[str, ...] | None, *, strict: bool
) -> KeyRing:
    def prepared(key: JsonWebKey) -> PreparedKey:
        return prepare(key, "verify", algorithms=algorithms, strict=strict)

    good, refused = usable(keys.keys, prepared, "a verifier's set", level=logging.INFO)
    if not good:
        raise InvalidKeyError(f"no key of the set verifies tokens: {refused or 'it is empty'}")
    return KeyRing(good)
