"""Issues tokens under one name, with one key."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self, cast

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from varco_auth_jwt._builder import JwtBuilder, Signer
from varco_auth_jwt._claims import Policies
from varco_auth_jwt._codec import b64decode
from varco_auth_jwt._errors import (
    AuthorityError,
    InvalidKeyError,
    TokenBuildError,
    shown,
)
from varco_auth_jwt._jwk import key_given, refuse_pickling
from varco_auth_jwt._jwk_builder import JwkBuilder
from varco_auth_jwt._jwk_set import JsonWebKeySet
from varco_auth_jwt._key_file import read_or_make
from varco_auth_jwt._keyring import KeyRing
from varco_auth_jwt._parser import verified
from varco_auth_jwt._prepare import prepare
from varco_auth_jwt._states import IssuerState, KeyState

if TYPE_CHECKING:
    from collections.abc import Collection
    from os import PathLike

    from varco_auth_jwt._claims import Clock, Duration
    from varco_auth_jwt._jwk import JsonWebKey
    from varco_auth_jwt._prepare import PreparedKey
    from varco_auth_jwt._token import JsonWebToken


class JwtAuthority:
    """Signs and verifies with one key, under one issuer; immutable and safe to share.

    Args:
        private_key: An asymmetric key pair, or a secret as long as its algorithm demands.
        issuer: The `iss` of every token.
        algorithm: What to sign with; by default the key's own.
        kid: The key's name; by default its own, or else its thumbprint.
        leeway: How far clocks may differ.
        clock: The time in seconds since 1970.
        made_at: When the key was made, in seconds since 1970, to tell its age.

    Raises:
        InvalidKeyError: the key cannot sign, or does not fit `algorithm`.
        WeakKeyError: it is too short.
        AuthorityError: there is no issuer.
    """

    def __init__(
        self,
        *,
        private_key: JsonWebKey,
        issuer: str,
        algorithm: str | None = None,
        kid: str | None = None,
        leeway: Duration = 0,
        clock: Clock = time.time,
        made_at: float | None = None,
    ) -> None:
        if not isinstance(cast("object", issuer), str) or not issuer:
            raise AuthorityError(f"an authority needs an issuer, a string, not {shown(issuer)}")
        private_key = key_given(private_key)
        algorithms = None if algorithm is None else (algorithm,)
        named = kid or private_key.kid
        if named is None and private_key.kty == "oct":
            raise InvalidKeyError("a secret has no thumbprint; give the authority a kid")
        named = named or private_key.thumbprint()
        signing = prepare(private_key, "sign", algorithms=algorithms)
        if len(signing.algorithms) != 1:
            raise InvalidKeyError(f"name the algorithm to sign with for key {shown(named)}")
        self._algorithm = next(iter(signing.algorithms))
        self._issuer = issuer
        self._key = replace(private_key, kid=named, alg=self._algorithm)
        self._signer = Signer(signing._replace(kid=named))
        self._verifying = prepare(_verifying_half(self._key), "verify")
        self._keys = JsonWebKeySet((_verifying_half(self._key),))
        self._ring = KeyRing((self._verifying,))
        self._clock = clock
        self._made_at = made_at
        self._policies = Policies(issuer=issuer, leeway=leeway, clock=clock)

    @classmethod
    def from_pem(
        cls,
        pem_bytes: bytes,
        *,
        issuer: str,
        kid: str | None = None,
        algorithm: str | None = None,
        password: bytes | None = None,
        leeway: Duration = 0,
        clock: Clock = time.time,
        made_at: float | None = None,
    ) -> Self:
        """An authority of a private key in PEM."""
        key = JwkBuilder.from_pem(
            pem_bytes, kid=kid, alg=algorithm, password=password, include_private=True
        )
        return cls(
            private_key=key,
            issuer=issuer,
            algorithm=algorithm,
            leeway=leeway,
            clock=clock,
            made_at=made_at,
        )

    @classmethod
    def from_file(
        cls,
        path: str | PathLike[str],
        *,
        issuer: str,
        create: str | None = None,
        leeway: Duration = 0,
        clock: Clock = time.time,
    ) -> Self:
        """An authority of the private key in a PEM file, which all processes share.

        Args:
            path: The file.
            issuer: The `iss` of every token.
            create: The algorithm of the key to make where there is no file yet, e.g. "EdDSA". Of
                processes that start at once one makes it; only its owner may read it.
            leeway: How far clocks may differ.
            clock: The time in seconds since 1970.

        Raises:
            OSError: there is no such file, or it cannot be read or made.
        """
        pem = read_or_make(Path(path), create)
        return cls.from_pem(pem, issuer=issuer, leeway=leeway, clock=clock)

    @classmethod
    def generate(
        cls,
        *,
        issuer: str,
        algorithm: str = "ES256",
        kid: str | None = None,
        leeway: Duration = 0,
        clock: Clock = time.time,
    ) -> Self:
        """An authority of a fresh key."""
        key = JwkBuilder.generate(algorithm, kid=kid)
        return cls(private_key=key, issuer=issuer, leeway=leeway, clock=clock, made_at=clock())

    def secret(self, purpose: str) -> bytes:
        """32 secret bytes that everyone with this key has: to sign cursors or forms with.

        Those of one purpose tell nothing of the key, nor of those of another (HKDF, RFC 5869).
        """
        material = self._key.d or self._key.k
        assert material  # noqa: S101  # `__init__` takes no key that has no private part
        derived = HKDF(SHA256(), 32, salt=None, info=f"varco secret: {purpose}".encode())
        return derived.derive(b64decode(material.encode()))

    @property
    def kid(self) -> str:
        """The name of the key."""
        return self._key.kid or ""

    @property
    def issuer(self) -> str:
        """The `iss` of every token."""
        return self._issuer

    @property
    def algorithm(self) -> str:
        """What it signs with."""
        return self._algorithm

    def token(self) -> JwtBuilder[str]:
        """A builder for a token of this authority; its `build` signs."""
        return JwtBuilder.signed_by(self.sign_claims, clock=self._clock).issuer(self._issuer)

    def sign(self, builder: JwtBuilder[Any]) -> str:
        """Sign what a builder holds, whatever the builder itself would sign with.

        Raises:
            TokenBuildError: it names another issuer, or no end.
        """
        return builder.signed_with(self.sign_claims)

    def sign_claims(self, claims: dict[str, Any], typ: str | None) -> str:
        """As `sign`, of claims and a type."""
        issuer = claims.setdefault("iss", self._issuer)
        if issuer != self._issuer:
            raise TokenBuildError(f"{self._issuer} signs no token of {shown(issuer)}")
        if "exp" not in claims:
            raise TokenBuildError("an authority signs no token without an end: .expires_in(3600)")
        return self._signer.sign(claims, typ)

    def verify(
        self,
        token_str: str | bytes,
        *,
        audience: str | Collection[str] | None = None,
        token_type: str | Collection[str] | None = None,
    ) -> JsonWebToken:
        """Verify a token of this authority; `audience` and `token_type` as of `JwtParser`."""
        return verified(self._ring, self._policies, token_str, audience, token_type)

    def jwk(self) -> JsonWebKey:
        """The public key.

        Raises:
            InvalidKeyError: the authority signs with a secret.
        """
        return self._key.public_key()

    def jwks(self) -> JsonWebKeySet:
        """The key set to publish; empty for an authority that signs with a secret."""
        return self._keys.public_set()

    def verifying_keys(self) -> JsonWebKeySet:
        """The keys that verify, secrets among them: not to be published."""
        return self._keys

    def state(self) -> IssuerState:
        """What may be told of it, for whoever operates it; nothing of the key."""
        age = None if self._made_at is None else max(self._clock() - self._made_at, 0.0)
        key = KeyState(kid=self.kid, algorithm=self._algorithm, signs=True, age=age)
        return IssuerState(
            label=self._issuer, issuer=self._issuer, source="this process", keys=(key,)
        )

    def prepared(self) -> PreparedKey:
        """The key that verifies, ready for a key ring."""
        return self._verifying

    def __repr__(self) -> str:
        return f"JwtAuthority({self._issuer!r}, {self._algorithm}, kid={shown(self.kid)})"

    def __reduce__(self) -> NoReturn:
        refuse_pickling(self)


def _verifying_half(key: JsonWebKey) -> JsonWebKey:
    return key if key.kty == "oct" else key.public_key()
