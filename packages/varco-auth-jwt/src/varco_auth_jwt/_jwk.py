"""One key, and a set of keys, as RFC 7517 writes them."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, cast

from varco_auth_jwt._algorithms import ALGORITHMS
from varco_auth_jwt._codec import b64decode
from varco_auth_jwt._errors import InvalidKeyError, shown

if TYPE_CHECKING:
    from joserfc.jwk import Key

KEY_TYPES: Final = {
    "RSA": ("n", "e"),
    "EC": ("crv", "x", "y"),
    "OKP": ("crv", "x"),
    "oct": ("k",),
}
PRIVATE_MEMBERS: Final = ("d", "p", "q", "dp", "dq", "qi", "k")
_MATERIAL: Final = ("n", "e", "x", "y", *PRIVATE_MEMBERS)
_PUBLIC_OPS: Final = {"sign": "verify", "decrypt": "encrypt", "unwrapKey": "wrapKey"}
_OPS_OF_USE: Final = {"sig": {"sign", "verify"}}


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class JsonWebKey:
    """A key: immutable, equal to another only if its material is equal too.

    Neither `repr` nor `to_dict` (unless told) show private parts, and a key that has some refuses
    to be pickled.

    Raises:
        InvalidKeyError: a member is missing, malformed, or at odds with another.
    """

    kty: str
    kid: str | None = None
    use: str | None = None
    alg: str | None = None
    key_ops: tuple[str, ...] | None = None
    n: str | None = None
    e: str | None = None
    d: str | None = None
    p: str | None = None
    q: str | None = None
    dp: str | None = None
    dq: str | None = None
    qi: str | None = None
    crv: str | None = None
    x: str | None = None
    y: str | None = None
    k: str | None = None
    # The joserfc key once it was asked for; two threads that ask at once both make an equal one.
    _native: Key | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if not isinstance(cast("object", self.kty), str) or self.kty not in KEY_TYPES:
            raise InvalidKeyError(
                f"key type {shown(self.kty)} is unknown; use one of {', '.join(KEY_TYPES)}"
            )
        for name in ("kid", "use", "alg", "crv"):
            value: object = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise InvalidKeyError(f"member {name!r} of a key must be a string")
        for name in _MATERIAL:
            _check_material(name, getattr(self, name))
        for name in KEY_TYPES[self.kty]:
            if getattr(self, name) is None:
                raise InvalidKeyError(f"a key of type {self.kty} needs the member {name!r}")
        self._check_purpose()

    def _check_purpose(self) -> None:
        if self.key_ops is not None:
            given = cast("object", self.key_ops)
            if type(given) is not tuple or {type(op) for op in cast("Any", given)} - {str}:
                raise InvalidKeyError("member 'key_ops' of a key must be several strings")
            allowed = _OPS_OF_USE.get(self.use or "")
            if allowed is not None and not allowed.issuperset(self.key_ops):
                raise InvalidKeyError(
                    f"key_ops {shown(self.key_ops)} contradict use {self.use!r} of the same key"
                )
        algorithm = ALGORITHMS.get(self.alg or "")
        if algorithm and (algorithm.kty, algorithm.crv or self.crv) != (self.kty, self.crv):
            raise InvalidKeyError(
                f"algorithm {self.alg} needs a key of type {algorithm.kty} {algorithm.crv or ''},"
                f" and this one is {self.kty} {shown(self.crv) if self.crv else ''}"
            )

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Read a JWK; members that this slice does not know are ignored, as RFC 7517 says."""
        if not isinstance(cast("object", raw), Mapping):
            raise InvalidKeyError(f"a JWK is a JSON object, not {type(raw).__name__}")
        if "oth" in raw:
            raise InvalidKeyError("RSA keys of more than two primes ('oth') are not supported")
        known = {name: raw[name] for name in _MEMBERS if name in raw}
        if "kty" not in known:
            raise InvalidKeyError("a key needs the member 'kty'")
        if isinstance(known.get("key_ops"), list):
            known["key_ops"] = tuple(known["key_ops"])
        return cls(**known)

    def to_dict(self, *, include_private: bool = False) -> dict[str, Any]:
        """Write the JWK, without its private parts unless asked for them.

        Raises:
            InvalidKeyError: the key is symmetric, so that nothing of it is public.
        """
        if not include_private and self.kty == "oct":
            raise InvalidKeyError(
                "a symmetric key has no public part; say include_private=True to write it"
            )
        hidden = () if include_private else PRIVATE_MEMBERS
        members: dict[str, Any] = {
            name: value for name, value in self._members().items() if name not in hidden
        }
        if self.key_ops is not None:
            members["key_ops"] = list(self.key_ops)
        return members

    def thumbprint(self) -> str:
        """The SHA-256 thumbprint of RFC 7638."""
        from joserfc.jwk import thumbprint  # noqa: PLC0415  # loaded with the first key only

        members = self._members()
        return thumbprint({name: members[name] for name in ("kty", *KEY_TYPES[self.kty])})

    def public_key(self) -> JsonWebKey:
        """The same key without its private parts.

        Raises:
            InvalidKeyError: the key is symmetric.
        """
        if self.kty == "oct":
            raise InvalidKeyError("a symmetric key has no public part")
        if not self.is_private:
            return self
        members = {
            name: value for name, value in self._members().items() if name not in PRIVATE_MEMBERS
        }
        if self.key_ops is not None:
            members["key_ops"] = tuple(
                dict.fromkeys(_PUBLIC_OPS.get(op, op) for op in self.key_ops)
            )
        return JsonWebKey(**members)

    @property
    def is_private(self) -> bool:
        """Whether the key can sign or decrypt; a symmetric key always can."""
        return self.d is not None or self.k is not None

    def to_pem(self, *, include_private: bool = False, password: str | None = None) -> bytes:
        """Write SubjectPublicKeyInfo, or PKCS#8 with `include_private`, as PEM."""
        return self._serialized("PEM", include_private, password)

    def to_der(self, *, include_private: bool = False, password: str | None = None) -> bytes:
        """Write SubjectPublicKeyInfo, or PKCS#8 with `include_private`, as DER."""
        return self._serialized("DER", include_private, password)

    def _serialized(self, encoding: str, include_private: bool, password: str | None) -> bytes:
        from joserfc.jwk import OctKey  # noqa: PLC0415  # as in thumbprint

        key = self.native()
        if isinstance(key, OctKey):
            raise InvalidKeyError("a symmetric key has no PEM or DER form; use to_dict")
        if password is not None and not password:
            raise InvalidKeyError("the password is empty; leave it out to write without one")
        if include_private and not self.is_private:
            raise InvalidKeyError("the key has no private part to write")
        write = key.as_pem if encoding == "PEM" else key.as_der
        return write(private=include_private, password=password)

    def native(self) -> Key:
        """The joserfc key of the same material; it knows nothing of `use`, `alg` and `key_ops`.

        Raises:
            InvalidKeyError: the numbers are no key.
            WeakKeyError: RSA under 2048 bits.
        """
        native = self._native
        if native is None:
            from varco_auth_jwt._native import native_key  # noqa: PLC0415  # as in thumbprint

            native = native_key(self.material(), self.kid)
            object.__setattr__(self, "_native", native)
        return native

    def material(self) -> dict[str, str]:
        """The members that are the key itself, private ones included."""
        members = self._members()
        return {name: members[name] for name in ("kty", "crv", *_MATERIAL) if name in members}

    def _members(self) -> dict[str, Any]:
        pairs = ((name, getattr(self, name)) for name in _MEMBERS)
        return {name: value for name, value in pairs if value is not None}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, JsonWebKey):
            return NotImplemented
        mine, theirs = self._members(), other._members()
        secret = hmac.compare_digest(_joined(mine), _joined(theirs))
        for members in (mine, theirs):
            for name in PRIVATE_MEMBERS:
                members.pop(name, None)
        return secret and mine == theirs

    def __hash__(self) -> int:
        return hash((self.kty, self.kid, self.n, self.x, self.y))

    def __repr__(self) -> str:
        parts = [f"kty={self.kty!r}", f"kid={shown(self.kid) if self.kid else None}"]
        parts += [
            f"{name}={value!r}" for name in ("use", "alg", "crv") if (value := getattr(self, name))
        ]
        return f"JsonWebKey({', '.join(parts)}, {'private' if self.is_private else 'public'})"

    def __reduce__(self) -> Any:
        if self.is_private:
            raise InvalidKeyError("a key with private parts refuses to be pickled")
        return (_restored, (self._members(),))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


_MEMBERS: Final = tuple(one.name for one in fields(JsonWebKey) if one.init)


def _joined(members: dict[str, Any]) -> bytes:
    return ".".join(str(members.get(name, "")) for name in PRIVATE_MEMBERS).encode()


def _restored(members: dict[str, Any]) -> JsonWebKey:
    return JsonWebKey(**members)


def _check_material(name: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, str) or not value or not value.isascii():
        raise InvalidKeyError(f"member {name!r} of a key must be base64url text")
    if _is_no_base64url(value):
        raise InvalidKeyError(f"member {name!r} of a key is not base64url without padding")


def _is_no_base64url(value: str) -> bool:
    try:
        b64decode(value.encode())
    except ValueError:
        return True
    return False


def key_given(key: object) -> JsonWebKey:
    """The key, if it is a `JsonWebKey`; InvalidKeyError for what merely holds or names one."""
    if not isinstance(key, JsonWebKey):
        raise InvalidKeyError(
            f"a key is a JsonWebKey, not {type(key).__name__}: make one by JwkBuilder.from_pem,"
            " JwkBuilder.from_secret or JsonWebKey.from_dict"
        )
    return key


def refuse_pickling(thing: object) -> NoReturn:
    """What `__reduce__` of anything that holds a secret does."""
    raise InvalidKeyError(f"{type(thing).__name__} holds a key and refuses to be pickled")
