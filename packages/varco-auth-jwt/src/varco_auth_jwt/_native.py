"""From this slice's keys to joserfc's, with the checks that joserfc only warns about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from varco_auth_jwt._codec import b64decode, b64encode
from varco_auth_jwt._errors import InvalidKeyError, WeakKeyError, shown
from varco_auth_jwt._secrets import refuse_asymmetric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from joserfc.jwk import Key

_RSA_BITS = range(2048, 8192 + 1)


def native_key(material: Mapping[str, str], kid: str | None) -> Key:
    """The joserfc key of a key's material; see `JsonWebKey.native`."""
    kty = material["kty"]
    if kty == "oct":
        secret = b64decode(material["k"].encode())
        refuse_asymmetric(secret, kid)
        return OctKey(secret, secret)
    if kty == "RSA":
        _check_rsa(material, kid)
    types: dict[str, type[RSAKey | ECKey | OKPKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
    failed: Exception | None = None
    try:
        native = types[kty].import_key(cast("Any", material))
    except Exception as error:  # noqa: BLE001  # whatever the libraries below raise, it is no key
        failed = error
    else:
        # The libraries below do not compare the halves of an OKP key.
        if not isinstance(native, OKPKey) or _public_half(native) == material["x"]:
            return native
    # Outside the handler, so that no context carries the material along.
    reason = type(failed).__name__ if failed else "its halves belong to different keys"
    raise InvalidKeyError(f"the members of key {shown(kid)} are no {kty} key ({reason})")


def _public_half(key: OKPKey) -> str:
    return b64encode(key.public_key.public_bytes_raw()).decode()


def _check_rsa(material: Mapping[str, str], kid: str | None) -> None:
    bits = int.from_bytes(b64decode(material["n"].encode())).bit_length()
    if bits < _RSA_BITS[0]:
        raise WeakKeyError(f"RSA key {shown(kid)} has {bits} bits; RFC 7518 demands 2048 or more")
    if bits > _RSA_BITS[-1]:
        raise InvalidKeyError(
            f"RSA key {shown(kid)} has {bits} bits; more than {_RSA_BITS[-1]} cost too much"
        )
    exponent = int.from_bytes(b64decode(material["e"].encode()))
    if exponent < 3 or not exponent & 1 or exponent.bit_length() > 64:  # noqa: PLR2004  # e of RSA
        raise WeakKeyError(f"RSA key {shown(kid)} has an unsound public exponent; use 65537")
