"""From this slice's keys to joserfc's, with the checks that joserfc only warns about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from varco_auth_jwt._codec import b64decode, b64encode
from varco_auth_jwt._errors import InvalidKeyError, WeakKeyError, shown
from varco_auth_jwt._secrets import refuse_asymmetric

if TYPE_CHECKING:
    from joserfc.jwk import Key

    from varco_auth_jwt._jwk import JsonWebKey

_RSA_BITS = range(2048, 8192 + 1)


def native_key(jwk: JsonWebKey) -> Key:
    """The joserfc key of the same material; see `JsonWebKey.native`."""
    material = cast("Any", jwk.material())
    if jwk.kty == "oct":
        secret = b64decode(material["k"].encode())
        refuse_asymmetric(secret, jwk.kid)
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
