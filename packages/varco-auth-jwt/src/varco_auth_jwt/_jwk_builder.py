"""Makes keys from what one has: PEM, DER, keys of `cryptography`, secrets, or nothing."""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from joserfc.jwk import ECKey, OKPKey, RSAKey

from varco_auth_jwt._algorithms import algorithm_named
from varco_auth_jwt._codec import b64encode
from varco_auth_jwt._errors import InvalidKeyError
from varco_auth_jwt._jwk import JsonWebKey
from varco_auth_jwt._jwk_set import JsonWebKeySet
from varco_auth_jwt._pem import read_der, read_pem
from varco_auth_jwt._prepare import secret_key

_MAX_BITS: Final = 8192
_USABLE: Final = "use RSA, EC on P-256, P-384, P-521 or secp256k1, Ed25519 or X25519"
_KINDS: Final[dict[Any, tuple[type, ...]]] = {
    RSAKey: (rsa.RSAPrivateKey, rsa.RSAPublicKey),
    ECKey: (ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey),
    OKPKey: (
        ed25519.Ed25519PrivateKey,
        ed25519.Ed25519PublicKey,
        x25519.X25519PrivateKey,
        x25519.X25519PublicKey,
    ),
}


class JwkBuilder:
    """Makes `JsonWebKey`s; a key without a `kid` gets its RFC 7638 thumbprint for one.

    Private parts are left out unless `include_private` is said. Every method raises
    InvalidKeyError for what is no key, and WeakKeyError for RSA under 2048 bits.
    """

    @classmethod
    def from_rsa_public_key(
        cls,
        key: rsa.RSAPublicKey,
        *,
        kid: str | None = None,
        use: str | None = "sig",
        alg: str | None = None,
    ) -> JsonWebKey:
        """Take over an RSA public key."""
        return _of(key, kid=kid, use=use, alg=alg, include_private=False)

    @classmethod
    def from_rsa_private_key(
        cls,
        key: rsa.RSAPrivateKey,
        *,
        kid: str | None = None,
        use: str | None = "sig",
        alg: str | None = None,
        include_private: bool = False,
    ) -> JsonWebKey:
        """Take over an RSA key pair."""
        return _of(key, kid=kid, use=use, alg=alg, include_private=include_private)

    @classmethod
    def from_ec_public_key(
        cls,
        key: ec.EllipticCurvePublicKey,
        *,
        kid: str | None = None,
        use: str | None = "sig",
        alg: str | None = None,
    ) -> JsonWebKey:
        """Take over a public key on P-256, P-384, P-521 or secp256k1."""
        return _of(key, kid=kid, use=use, alg=alg, include_private=False)

    @classmethod
    def from_ec_private_key(
        cls,
        key: ec.EllipticCurvePrivateKey,
        *,
        kid: str | None = None,
        use: str | None = "sig",
        alg: str | None = None,
        include_private: bool = False,
    ) -> JsonWebKey:
        """Take over a key pair on P-256, P-384, P-521 or secp256k1."""
        return _of(key, kid=kid, use=use, alg=alg, include_private=include_private)

    @classmethod
    def from_okp_public_key(
        cls,
        key: ed25519.Ed25519PublicKey | x25519.X25519PublicKey,
        *,
        kid: str | None = None,
        use: str | None = "sig",
        alg: str | None = None,
    ) -> JsonWebKey:
        """Take over an Ed25519 or X25519 public key."""
        return _of(key, kid=kid, use=use, alg=alg, include_private=False)

    @classmethod
    def from_okp_private_key(
        cls,
        key: ed25519.Ed25519PrivateKey | x25519.X25519PrivateKey,
        *,
        kid: str | None = None,
        use: str | None = "sig",
        alg: str | None = None,
        include_private: bool = False,
    ) -> JsonWebKey:
        """Take over an Ed25519 or X25519 key pair."""
        return _of(key, kid=kid, use=use, alg=alg, include_private=include_private)

    @classmethod
    def from_pem(
        cls,
        pem_bytes: bytes,
        *,
        kid: str | None = None,
        use: str | None = "sig",
        alg: str | None = None,
        password: bytes | None = None,
        include_private: bool = False,
    ) -> JsonWebKey:
        """Read the private key in a PEM (OpenSSH's too), else its public key or certificate."""
        key = read_pem(pem_bytes, password)
        return _of(key, kid=kid, use=use, alg=alg, include_private=include_private)

    @classmethod
    def from_der(
        cls,
        der_bytes: bytes,
        *,
        kid: str | None = None,
        use: str | None = "sig",
        alg: str | None = None,
        password: bytes | None = None,
        include_private: bool = False,
    ) -> JsonWebKey:
        """Read a public key, a private key or a certificate from DER."""
        key = read_der(der_bytes, password)
        return _of(key, kid=kid, use=use, alg=alg, include_private=include_private)

    @classmethod
    def from_secret(
        cls, secret: str | bytes, *, kid: str | None = None, alg: str = "HS256"
    ) -> JsonWebKey:
        """Take over a shared secret for HMAC; it gets no thumbprint, which would tell of it."""
        return secret_key(secret, algorithm=alg, kid=kid)

    @classmethod
    def keyset(cls, *keys: JsonWebKey) -> JsonWebKeySet:
        """Put keys together."""
        return JsonWebKeySet(keys)

    @classmethod
    def generate(
        cls, alg: str = "ES256", *, kid: str | None = None, bits: int | None = None
    ) -> JsonWebKey:
        """Generate a key pair, or a secret, for a signature algorithm.

        `bits` is for RSA (by default 3072) and HMAC (by default what the algorithm demands).
        """
        algorithm = algorithm_named(alg)
        if bits is not None and not 0 < bits <= _MAX_BITS:
            raise InvalidKeyError(f"a key has at most {_MAX_BITS} bits, not {bits}")
        if algorithm.kty == "oct":
            return _secret(kid, bits or algorithm.minimum_bits, alg, use="sig")
        if algorithm.kty == "RSA":
            native: Any = rsa.generate_private_key(65537, bits or 3072)
        elif algorithm.kty == "EC":
            native = ECKey.generate_key(algorithm.crv).private_key  # pyright: ignore[reportArgumentType]  # a curve of the table
        else:
            native = ed25519.Ed25519PrivateKey.generate()
        return _of(native, kid=kid, use="sig", alg=alg, include_private=True)

    @classmethod
    def generate_oct_enc_key(cls, kid: str, *, bits: int = 256, alg: str = "A256GCM") -> JsonWebKey:
        """Generate a secret to encrypt with directly (`dir`)."""
        return _secret(kid, bits, alg, use="enc")


def _secret(kid: str | None, bits: int, alg: str, *, use: str) -> JsonWebKey:
    if bits % 8 or bits < 128:  # noqa: PLR2004  # AES-128, the smallest key of all
        raise InvalidKeyError(f"a secret has whole bytes and at least 128 bits, not {bits}")
    text = b64encode(secrets.token_bytes(bits // 8)).decode()
    return JsonWebKey("oct", kid=kid or secrets.token_urlsafe(8), use=use, alg=alg, k=text)


def _of(
    key: Any, *, kid: str | None, use: str | None, alg: str | None, include_private: bool
) -> JsonWebKey:
    kind = next((one for one, types in _KINDS.items() if isinstance(key, types)), None)
    if kind is None:
        raise InvalidKeyError(f"{_named(key)} is no kind of key that tokens use; {_USABLE}")
    if include_private and not hasattr(key, "private_bytes"):
        raise InvalidKeyError(
            f"this is {_named(key)}, and has no private part; a private key is needed here"
        )
    members: dict[str, Any] = {}
    # A curve that no token uses. Raised outside, so that no context carries the key along.
    with suppress(Exception):
        members = dict(kind(key, key).as_dict(private=include_private))
    if not members:
        raise InvalidKeyError(f"{_named(key)} is no key that tokens use; {_USABLE}")
    jwk = JsonWebKey.from_dict(members | {"use": use, "alg": alg})
    jwk.native()
    return JsonWebKey.from_dict(members | {"use": use, "alg": alg, "kid": kid or jwk.thumbprint()})


def _named(key: Any) -> str:
    curve = getattr(key, "curve", None)
    return type(key).__name__ if curve is None else f"{type(key).__name__} on {curve.name}"
