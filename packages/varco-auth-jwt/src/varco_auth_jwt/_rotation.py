"""Issues tokens under one name, with keys that rotate."""

from __future__ import annotations

import time
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from varco_auth_jwt._builder import JwtBuilder
from varco_auth_jwt._claims import Policies, seconds
from varco_auth_jwt._errors import AuthorityError, UnknownKidError, shown
from varco_auth_jwt._jwk import refuse_pickling
from varco_auth_jwt._jwk_set import JsonWebKeySet
from varco_auth_jwt._keyring import KeyRing
from varco_auth_jwt._parser import verified

if TYPE_CHECKING:
    from collections.abc import Collection

    from varco_auth_jwt._authority import JwtAuthority
    from varco_auth_jwt._claims import Clock, Duration
    from varco_auth_jwt._states import IssuerState, KeyState
    from varco_auth_jwt._token import JsonWebToken


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
