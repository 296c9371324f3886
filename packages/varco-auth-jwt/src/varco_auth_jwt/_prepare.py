"""Makes keys ready for signing and verifying, with the checks that joserfc leaves out."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from varco_auth_jwt._algorithms import ALGORITHMS, algorithm_named, default_algorithms
from varco_auth_jwt._codec import b64decode, b64encode
from varco_auth_jwt._errors import InvalidKeyError, ShortSecretWarning, WeakKeyError, shown
from varco_auth_jwt._jwk import JsonWebKey

if TYPE_CHECKING:
    from collections.abc import Collection

    from joserfc.jwa import JWSAlgModel
    from joserfc.jwk import Key

# How many keys given with each call are remembered in the form that a call needs.
KEYS_REMEMBERED = 32
_HERE = str(Path(__file__).parent)

# Set once and never cleared; at worst two threads that come at the same moment both warn.
_warned: set[str] = set()


class PreparedKey(NamedTuple):
    """A key that passed the checks for one operation, and the algorithms that it may be used by."""

    kid: str | None
    algorithms: dict[str, tuple[JWSAlgModel, Key]]


def secret_bytes(secret: object) -> bytes:
    """A shared secret as bytes; InvalidKeyError if it is neither text nor bytes, or empty."""
    # bytes(5) would be five zeros.
    if not isinstance(secret, str | bytes):
        raise InvalidKeyError(f"a secret is str or bytes, not {type(secret).__name__}")
    if not secret:
        raise InvalidKeyError("the secret is empty; use at least 32 random bytes")
    return secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else bytes(secret)


def secret_key(
    secret: str | bytes, *, algorithm: str = "HS256", kid: str | None = None
) -> JsonWebKey:
    """A shared secret as a key.

    Raises:
        InvalidKeyError: it is no text or bytes, is empty, or is an asymmetric key.
    """
    data = secret_bytes(secret)
    key = JsonWebKey("oct", kid=kid, use="sig", alg=algorithm, k=b64encode(data).decode())
    key.native()  # which looks at what the secret is
    return key


def prepare(
    jwk: JsonWebKey,
    operation: str,
    *,
    algorithms: Collection[str] | None = None,
    strict: bool = True,
) -> PreparedKey:
    """Check a key for signing (`"sign"`) or verifying (`"verify"`) and bind it to algorithms.

    A key is used by the algorithm it names; by those of `algorithms` that fit its type, if it names
    none; by the usual one of its type, if `algorithms` is None as well.

    Raises:
        InvalidKeyError: the key is meant for something else, or fits none of `algorithms`.
        WeakKeyError: the key is too short; a short secret only with `strict`.
    """
    names = _fitting(jwk, algorithms, operation)
    if jwk.use not in {None, "sig"}:
        raise InvalidKeyError(f"key {shown(jwk.kid)} is for {shown(jwk.use)}, not for signatures")
    if operation == "verify" and jwk.kty != "oct":
        jwk = jwk.public_key()
    if jwk.key_ops is not None and operation not in jwk.key_ops:
        raise InvalidKeyError(
            f"key {shown(jwk.kid)} is for {shown(jwk.key_ops)}, and not to {operation}"
        )
    if operation == "sign" and not jwk.is_private:
        raise InvalidKeyError(f"key {shown(jwk.kid)} is a public key, and cannot sign")
    if jwk.kty == "oct":
        _check_secret(jwk, names, strict=strict)
    native = jwk.native()
    return PreparedKey(jwk.kid, {name: (ALGORITHMS[name].model, native) for name in names})


def _fitting(jwk: JsonWebKey, algorithms: Collection[str] | None, operation: str) -> list[str]:
    asked = None if algorithms is None else [algorithm_named(name) for name in algorithms]
    if jwk.alg is not None:
        own = algorithm_named(jwk.alg)
        names = [own.name] if asked is None or own in asked else []
    elif asked is None:
        usual = default_algorithms(jwk.kty, jwk.crv)
        names = list(usual[:1] if operation == "sign" else usual)
    else:
        names = [
            one.name
            for one in asked
            if one.kty == jwk.kty and (one.crv is None or one.crv == jwk.crv)
        ]
    if not names:
        kind = f"{jwk.kty} {shown(jwk.crv)}" if jwk.crv else jwk.kty
        wanted = "any signature" if asked is None else ", ".join(one.name for one in asked)
        raise InvalidKeyError(
            f"key {shown(jwk.kid)} ({kind}, alg {shown(jwk.alg)}) does not fit {wanted}"
        )
    return names


def _check_secret(jwk: JsonWebKey, names: list[str], *, strict: bool) -> None:
    bits = len(b64decode((jwk.k or "").encode())) * 8
    needed = max(ALGORITHMS[name].minimum_bits for name in names)
    if bits >= needed:
        return
    message = (
        f"the HMAC secret has {bits} bits; RFC 7518 demands {needed} or more for {names[0]}: use"
        f" {needed // 8} random bytes, e.g. secrets.token_urlsafe({needed // 8})"
    )
    if strict:
        raise WeakKeyError(message)
    warn_once("secret", message)


def warn_once(topic: str, message: str) -> None:
    """Warn with `ShortSecretWarning`, once per topic in this process."""
    if topic not in _warned:
        _warned.add(topic)
        warnings.warn(message, ShortSecretWarning, skip_file_prefixes=(_HERE,), stacklevel=2)
