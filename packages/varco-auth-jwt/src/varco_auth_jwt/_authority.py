"""Issues tokens under one name, with one key or with keys that rotate."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Self, cast

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from varco_auth_jwt._builder import JwtBuilder, Signer
from varco_auth_jwt._claims import Policies, seconds
from varco_auth_jwt._codec import b64decode
from varco_auth_jwt._errors import (
    AuthorityError,
    InvalidKeyError,
    TokenBuildError,
    UnknownKidError,
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


class _Keys(NamedTuple):
    """What `MultiKeyAuthority` swaps as a whole, so that a reader never sees half a rotation."""

    authorities: tuple[JwtAuthority, ...]  # the active one first
    ends: dict[str, float]
    ring: KeyRing
    keys: JsonWebKeySet
    since: float  # when the active one began to sign here


class MultiKeyAuthority:
    """Signs with the newest key and verifies with all that are not retired.

    Safe to share between threads and tasks, also while it rotates: what was signed before a
    rotation verifies after it.

    Args:
        initial_authority: Signs first.
        leeway: How far clocks may differ.
        clock: The time in seconds since 1970.
        max_key_age: How old a key is to grow: `state` tells when the next rotation is due. It
            replaces none by itself.

    Raises:
        AuthorityError: `max_key_age` is not above zero.
    """

    def __init__(
        self,
        initial_authority: JwtAuthority,
        *,
        leeway: Duration = 0,
        clock: Clock = time.time,
        max_key_age: Duration | None = None,
    ) -> None:
        self._max_key_age = None if max_key_age is None else seconds(max_key_age, "max_key_age")
        if self._max_key_age is not None and self._max_key_age <= 0:
            raise AuthorityError(f"max_key_age must be positive, not {self._max_key_age:g} seconds")
        self._issuer = initial_authority.issuer
        self._clock = clock
        self._policies = Policies(issuer=self._issuer, leeway=leeway, clock=clock)
        # Readers take the reference once; writers replace it under the lock.
        self._lock = Lock()
        self._state = _keys_of((initial_authority,), {}, clock())

    @property
    def active_kid(self) -> str:
        """The name of the key that signs."""
        return self._current().authorities[0].kid

    @property
    def issuer(self) -> str:
        """The `iss` of every token."""
        return self._issuer

    @property
    def kids(self) -> frozenset[str]:
        """The names of the keys that verify."""
        return frozenset(authority.kid for authority in self._current().authorities)

    def token(self) -> JwtBuilder[str]:
        """A builder for a token of this authority; its `build` signs with the then active key."""
        return JwtBuilder.signed_by(self.sign_claims, clock=self._clock).issuer(self._issuer)

    def sign(self, builder: JwtBuilder[Any]) -> str:
        """Sign what a builder holds with the active key; see `JwtAuthority.sign`."""
        return builder.signed_with(self.sign_claims)

    def sign_claims(self, claims: dict[str, Any], typ: str | None) -> str:
        """As `sign`, of claims and a type."""
        return self._current().authorities[0].sign_claims(claims, typ)

    def verify(
        self,
        token_str: str | bytes,
        *,
        audience: str | Collection[str] | None = None,
        token_type: str | Collection[str] | None = None,
    ) -> JsonWebToken:
        """Verify a token of any key that is not retired; arguments as of `JwtParser`."""
        return verified(self._current().ring, self._policies, token_str, audience, token_type)

    def rotate(self, new_authority: JwtAuthority, *, overlap: Duration | None = None) -> None:
        """Sign with a new key from now on; the old ones go on to verify.

        Args:
            new_authority: Of the same issuer, with a key and a `kid` of its own.
            overlap: How long the keys replaced now still verify; by default until `retire`.

        Raises:
            AuthorityError: the new key belongs to another issuer, or bears a name in use; or
                `overlap` is negative.
        """
        if new_authority.issuer != self._issuer:
            raise AuthorityError(f"{shown(new_authority.issuer)} is not {self._issuer}")
        keep = None if overlap is None else seconds(overlap, "overlap")
        if keep is not None and keep < 0:
            raise AuthorityError(f"overlap must not be negative, as {keep:g} is")
        with self._lock:
            state = self._state
            if new_authority.kid in {authority.kid for authority in state.authorities}:
                raise AuthorityError(f"there is a key {shown(new_authority.kid)} already")
            ends = dict(state.ends)
            if keep is not None:
                end = self._clock() + keep
                ends |= {one.kid: min(end, ends.get(one.kid, end)) for one in state.authorities}
            self._state = _keys_of((new_authority, *state.authorities), ends, self._clock())

    def retire(self, kid: str) -> None:
        """Refuse what that key signed from now on.

        Raises:
            UnknownKidError: there is no such key.
            AuthorityError: it is the active one.
        """
        with self._lock:
            self._drop(frozenset({kid}))

    def _drop(self, kids: frozenset[str]) -> None:
        state = self._state
        if state.authorities[0].kid in kids:
            raise AuthorityError("the active key cannot be retired; rotate first")
        left = tuple(one for one in state.authorities if one.kid not in kids)
        if len(left) == len(state.authorities):
            raise UnknownKidError(f"there is no key {shown(sorted(kids))}", kid=next(iter(kids)))
        ends = {kid: end for kid, end in state.ends.items() if kid not in kids}
        self._state = _keys_of(left, ends, state.since)

    def _current(self) -> _Keys:
        state = self._state
        if state.ends and min(state.ends.values()) <= (now := self._clock()):
            with self._lock:
                over = frozenset(kid for kid, end in self._state.ends.items() if end <= now)
                if over:
                    self._drop(over)
                state = self._state
        return state

    def jwks(self) -> JsonWebKeySet:
        """The key set to publish: every key that is not retired, the active one first."""
        return self._current().keys.public_set()

    def verifying_keys(self) -> JsonWebKeySet:
        """The keys that verify, secrets among them: not to be published."""
        return self._current().keys

    def state(self) -> IssuerState:
        """What may be told of it, for whoever operates it; nothing of the keys.

        A key that nobody said when it was made is to be replaced `max_key_age` after it began to
        sign here.
        """
        now, current = self._clock(), self._current()
        keys: list[KeyState] = []
        for place, one in enumerate(current.authorities):
            (key,) = one.state().keys
            end = current.ends.get(one.kid)
            left = None if end is None else max(end - now, 0.0)
            keys.append(replace(key, signs=place == 0, ends_in=left))
        due = None
        if self._max_key_age is not None:
            age = keys[0].age
            due = self._max_key_age - (now - current.since if age is None else age)
        state = current.authorities[0].state()
        return replace(state, keys=tuple(keys), rotation_due_in=due)

    def __repr__(self) -> str:
        return f"MultiKeyAuthority({self._issuer!r}, kids={sorted(self.kids)})"

    def __reduce__(self) -> NoReturn:
        refuse_pickling(self)


def _keys_of(authorities: tuple[JwtAuthority, ...], ends: dict[str, float], since: float) -> _Keys:
    keys = tuple(key for one in authorities for key in one.verifying_keys().keys)
    ring = KeyRing(one.prepared() for one in authorities)
    return _Keys(authorities, ends, ring, JsonWebKeySet(keys), since)
