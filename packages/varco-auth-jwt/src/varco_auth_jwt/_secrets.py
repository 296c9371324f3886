"""Recognises asymmetric keys that were given for shared secrets, however they are spelled."""

from __future__ import annotations

import re
from binascii import a2b_base64
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key
from cryptography.x509 import load_der_x509_certificate

from varco_auth_jwt._errors import InvalidKeyError, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

# An Ed25519 public key in DER, the shortest of all.
_SHORTEST: Final = 44
# What text picks up on its way through files, environments and JSON.
_NOISE: Final = re.compile(rb"\\[nrt]|[\s\"':]")
# With its dashes and spaces, or without them.
_PEM: Final = re.compile(rb"BEGIN[A-Z0-9 ]*(?:KEY|CERTIFICATE)|---- BEGIN ")
_TO_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_SSH_KINDS: Final = (b"ssh-", b"ecdsa-sha2-", b"sk-ssh-", b"sk-ecdsa-")


def refuse_asymmetric(secret: bytes, kid: str | None) -> None:
    """Raise InvalidKeyError for a key pair or half of one: with its public half all could sign."""
    # Base64 of the base64 of a key is as far as configurations go.
    texts = [secret]
    for encoded in ("", ", encoded", ", encoded twice"):
        kind = next((kind for text in texts if (kind := _kind_of(text))), None)
        if kind is not None:
            named = "" if kid is None else f" of key {shown(kid)}"
            raise InvalidKeyError(
                f"the secret{named} is an asymmetric key ({kind}{encoded}), by whose public half"
                " everybody could sign; read it with JwkBuilder.from_pem, JwkBuilder.from_der or"
                " JsonWebKey.from_dict"
            )
        texts = [decoded for text in texts for decoded in _decoded(text)]


def _decoded(text: bytes) -> Iterator[bytes]:
    """What it means as hex and as base64, of either alphabet."""
    if len(text) < _SHORTEST:
        return
    bare = _NOISE.sub(b"", text)
    with suppress(ValueError):
        yield bytes.fromhex(bare.decode("ascii").lower().removeprefix("0x"))
    digits = bare.translate(_TO_STANDARD).rstrip(b"=")
    with suppress(ValueError):
        yield a2b_base64(digits + b"=" * (-len(digits) % 4), strict_mode=True)


def _kind_of(data: bytes) -> str | None:
    text = data.lstrip(b"\xef\xbb\xbf \t\r\n\"'")
    if _PEM.search(data):
        return "PEM"
    # In its binary form the name of its kind comes after four bytes of length.
    if text.startswith((*_SSH_KINDS, b"openssh-key-v1")) or data[4:].startswith(_SSH_KINDS):
        return "OpenSSH"
    if text.startswith((b"{", b"[")) and b"kty" in text:
        return "JWK"
    return "DER" if data.startswith(b"0") and _is_der(data) else None


def _is_der(data: bytes) -> bool:
    # A length of two bytes that is just that of the rest is no accident; the others may be.
    if data[1:2] == b"\x82" and 0 <= len(data) - 4 - int.from_bytes(data[2:4]) <= len("\r\n"):
        return True
    for load in (load_der_public_key, _load_private, load_der_x509_certificate):
        try:
            load(data)
        except (ValueError, UnsupportedAlgorithm):
            continue
        except TypeError:  # it is encrypted
            pass
        return True
    return False


def _load_private(data: bytes) -> object:
    return load_der_private_key(data, None)
