"""Between this slice's keys and joserfc's, with the checks that joserfc only warns about."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from varco_auth_jwt._algorithms import ALGORITHMS, algorithm_named, default_algorithm
from varco_auth_jwt._codec import b64decode, b64encode
from varco_auth_jwt._errors import InvalidKeyError, ShortSecretWarning, WeakKeyError, shown
from varco_auth_jwt._jwk import JsonWebKey

if TYPE_CHECKING:
    from collections.abc import Collection

    from joserfc.jwa import JWSAlgModel
    from joserfc.jwk import Key

_HERE = str(Path(__file__).parent)
_RSA_BITS = range(2048, 8192 + 1)

# Set once and never cleared; at worst two threads that come at the same moment both warn.
_warned: set[str] = set()


class PreparedKey(NamedTuple):
    """A key that passed the checks for one operation, and the algorithms that it may be used by."""

    kid: str | None
    algorithms: dict[str, tuple[JWSAlgModel, Key]]


def native_key(jwk: JsonWebKey) -> Key:
    """The joserfc key of the same material; see `JsonWebKey.native`."""
    material = cast("Any", jwk.material())
    if jwk.kty == "oct":
        secret = b64decode(material["k"].encode())
        return OctKey(secret, secret)
    if jwk.kty == "RSA":
        _check_rsa(jwk)
    types: dict[str, type[RSAKey | ECKey | OKPKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
    failed: Exception | None = None
    try:
        native = types[jwk.kty].import_key(material)
    except Exception as error:  # noqa: BLE001  # whatever the libraries below raise, it is no key
        failed = error
    else:
        # The libraries below do not compare the halves of an OKP key.
        if not isinstance(native, OKPKey) or _public_half(native) == jwk.x:
            return native
    # Outside the handler, so that no context carries the material along.
    reason = type(failed).__name__ if failed else "its halves belong to different keys"
    raise InvalidKeyError(f"the members of key {shown(jwk.kid)} are no {jwk.kty} key ({reason})")


def _public_half(key: OKPKey) -> str:
    return b64encode(key.public_key.public_bytes_raw()).decode()


def _check_rsa(jwk: JsonWebKey) -> None:
    bits = int.from_bytes(b64decode((jwk.n or "").encode())).bit_length()
    if bits < _RSA_BITS[0]:
        raise WeakKeyError(
            f"RSA key {shown(jwk.kid)} has {bits} bits; RFC 7518 demands 2048 or more"
        )
    if bits > _RSA_BITS[-1]:
        raise InvalidKeyError(
            f"RSA key {shown(jwk.kid)} has {bits} bits; more than {_RSA_BITS[-1]} cost too much"
        )
    exponent = int.from_bytes(b64decode((jwk.e or "").encode()))
    if exponent < 3 or not exponent & 1 or exponent.bit_length() > 64:  # noqa: PLR2004  # e of RSA
        raise WeakKeyError(f"RSA key {shown(jwk.kid)} has an unsound public exponent; use 65537")


def secret_key(
    secret: str | bytes, *, algorithm: str = "HS256", kid: str | None = None
) -> JsonWebKey:
    """A shared secret as a key.

    Raises:
        InvalidKeyError: it is no text or bytes, is empty, or is the text of an asymmetric key.
    """
    # bytes(5) would be five zeros.
    if not isinstance(cast("object", secret), str | bytes):
        raise InvalidKeyError(f"a secret is str or bytes, not {type(secret).__name__}")
    data = secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else secret
    if not data:
        raise InvalidKeyError("the secret is empty; use at least 32 random bytes")
    if _is_asymmetric(data):
        raise InvalidKeyError(
            "the secret is the text of an asymmetric key; read it with JwkBuilder.from_pem"
        )
    return JsonWebKey("oct", kid=kid, use="sig", alg=algorithm, k=b64encode(data).decode())


def _is_asymmetric(data: bytes) -> bool:
    """Whether this is a key pair or half of one, by whose public half everybody could sign."""
    text = data.lstrip()
    if b"-----BEGIN " in data or text.startswith((b"ssh-", b"ecdsa-sha2-")):
        return True
    if text.startswith(b"{") and b'"kty"' in text:
        return True
    # DER; random bytes may begin like it, and so all of it must be it.
    if data.startswith(b"0\x82"):
        return len(data) == 4 + int.from_bytes(data[2:4])
    try:
        load_der_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        return False
    return True


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
    names = _fitting(jwk, algorithms)
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


def _fitting(jwk: JsonWebKey, algorithms: Collection[str] | None) -> list[str]:
    asked = None if algorithms is None else [algorithm_named(name) for name in algorithms]
    if jwk.alg is not None:
        own = algorithm_named(jwk.alg)
        names = [own.name] if asked is None or own in asked else []
    elif asked is None:
        usual = default_algorithm(jwk.kty, jwk.crv)
        names = [usual] if usual else []
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
