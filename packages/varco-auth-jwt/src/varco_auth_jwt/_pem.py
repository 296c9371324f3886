"""Reads keys of `cryptography` from PEM and DER, and says what was found where that is no key."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import load_der_x509_certificate, load_pem_x509_certificate

from varco_auth_jwt._errors import InvalidKeyError

if TYPE_CHECKING:
    from collections.abc import Callable

    type _Load = Callable[[bytes, bytes | None], object]

_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


def read_pem(pem: object, password: bytes | None) -> object:
    """The private key in a PEM, else its public key, else that of its first certificate.

    Raises:
        InvalidKeyError: there is none, there are several, or it cannot be read.
    """
    data = _checked(pem, "PEM", password)
    if b"\\n" in data:
        raise InvalidKeyError(
            r"the PEM has the characters \n where its lines end; put line breaks there:"
            r" pem.replace(rb'\n', b'\n')"
        )
    blocks = [(found[1].decode(), found[0]) for found in _BLOCK.finditer(data)]
    for kind, load in _PEM_LOADERS.items():
        fitting = [(label, text) for label, text in blocks if label.endswith(kind)]
        if len(fitting) > 1 and kind != "CERTIFICATE":  # of a chain, the first is the key's
            labels = ", ".join(label for label, _ in fitting)
            raise InvalidKeyError(f"the PEM holds {len(fitting)} keys ({labels}); leave one")
        if fitting:
            label, text = fitting[0]
            return _loaded(f"the {label} in the PEM", {label: load}, text, password)
    held = ", ".join(label for label, _ in blocks) or "no whole block from -----BEGIN to -----END"
    raise InvalidKeyError(
        f"the PEM holds {held}; it must hold one public key, private key or certificate"
    )


def read_der(der: object, password: bytes | None) -> object:
    """The public key, private key or key of a certificate in a DER.

    Raises:
        InvalidKeyError: it cannot be read.
    """
    return _loaded("the DER", _DER_LOADERS, _checked(der, "DER", password), password)


def _checked(data: object, form: str, password: object) -> bytes:
    if not isinstance(data, bytes):
        raise InvalidKeyError(f"a {form} is bytes, not {type(data).__name__}")
    if not isinstance(password, bytes | None):
        raise InvalidKeyError(f"a password of keys is bytes, not {type(password).__name__}")
    if form == "DER" and data.lstrip().startswith(b"-----BEGIN "):
        raise InvalidKeyError("this is PEM, and no DER; JwkBuilder.from_pem reads it")
    return data


def _loaded(what: str, loaders: dict[str, _Load], data: bytes, password: bytes | None) -> object:
    reason = f"it is no {' and no '.join(loaders).lower()}"
    for load in loaders.values():
        try:
            return load(data, password)
        except TypeError:  # what `cryptography` raises for a password too few or too many
            encrypted = password is None
            reason = "it is encrypted: give its password" if encrypted else "it is not encrypted"
            break
        except UnsupportedAlgorithm as error:
            reason = str(error)
        except Exception:  # noqa: BLE001, S112  # whatever the parsers raise, it cannot be read
            continue
    with_it = "" if password is None else " with this password"
    # Outside the handlers, so that no context carries the key along.
    raise InvalidKeyError(f"{what} cannot be read{with_it}: {reason}")


def _pem_private(pem: bytes, password: bytes | None) -> object:
    if pem.startswith(b"-----BEGIN OPENSSH "):
        return serialization.load_ssh_private_key(pem, password)
    return serialization.load_pem_private_key(pem, password)


# By the end of the block's label, in the order of preference.
_PEM_LOADERS: Final[dict[str, _Load]] = {
    "PRIVATE KEY": _pem_private,
    "PUBLIC KEY": lambda pem, _: serialization.load_pem_public_key(pem),
    "CERTIFICATE": lambda pem, _: load_pem_x509_certificate(pem).public_key(),
}
_DER_LOADERS: Final[dict[str, _Load]] = {
    "public key": lambda der, _: serialization.load_der_public_key(der),
    "private key": serialization.load_der_private_key,
    "certificate": lambda der, _: load_der_x509_certificate(der).public_key(),
}
