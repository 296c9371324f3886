"""Encrypts and decrypts, with one key by one algorithm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from joserfc.jwe import JWERegistry, decrypt_compact, encrypt_compact

from varco_auth_jwt._codec import b64decode
from varco_auth_jwt._errors import (
    AlgorithmRefusedError,
    DecryptionError,
    InvalidKeyError,
    TokenBuildError,
    TokenHeaderError,
    TokenMalformedError,
    shown,
)
from varco_auth_jwt._jwk import refuse_pickling
from varco_auth_jwt._keyring import MAX_SIZE, ascii_token, checked_size, decode_part

if TYPE_CHECKING:
    from varco_auth_jwt._jwk import JsonWebKey

_ENCRYPTIONS: Final = {
    "A128GCM": 128,
    "A192GCM": 192,
    "A256GCM": 256,
    "A128CBC-HS256": 256,
    "A192CBC-HS384": 384,
    "A256CBC-HS512": 512,
}
_BY_TYPE: Final = {"oct": "dir", "RSA": "RSA-OAEP-256", "EC": "ECDH-ES", "OKP": "ECDH-ES"}
_CURVES: Final = frozenset({None, "P-256", "P-384", "P-521", "X25519"})
_ENCRYPTS: Final = frozenset({"encrypt", "wrapKey", "deriveKey", "deriveBits"})
_DECRYPTS: Final = frozenset({"decrypt", "unwrapKey", "deriveKey", "deriveBits"})
_PARTS: Final = 5


class JweCipher:
    """Encrypts to, or decrypts with, one key; immutable and safe to share.

    The algorithm is that of the key's type: `dir` for a secret, RSA-OAEP-256 for RSA, ECDH-ES for
    P-256, P-384, P-521 and X25519. Compressed content is refused.

    Args:
        encryption: How content is encrypted; tokens encrypted otherwise are refused.
        max_size: Longer tokens are refused before anything of them is decoded.

    Raises:
        InvalidKeyError: the key is not meant for encryption, or does not fit `encryption`.
    """

    __slots__ = (
        "_algorithm",
        "_encryption",
        "_key",
        "_kid",
        "_max_size",
        "_ops",
        "_private",
        "_registry",
    )

    def __init__(
        self, key: JsonWebKey, *, encryption: str = "A256GCM", max_size: int = MAX_SIZE
    ) -> None:
        if encryption not in _ENCRYPTIONS:
            raise InvalidKeyError(
                f"{shown(encryption)} is no content encryption here; use one of"
                f" {', '.join(_ENCRYPTIONS)}"
            )
        self._algorithm = _algorithm_of(key, encryption)
        self._encryption = encryption
        self._key = key.native()
        self._kid = key.kid
        self._private = key.is_private
        self._ops = key.key_ops
        self._max_size = checked_size(max_size)
        self._registry = JWERegistry(algorithms=[self._algorithm, encryption])

    def encrypt(self, plaintext: str | bytes, *, content_type: str | None = "JWT") -> str:
        """Encrypt a signed token, or with another `content_type` anything else.

        Raises:
            TokenBuildError: it is neither text nor bytes.
            InvalidKeyError: the key's `key_ops` do not allow it.
        """
        self._check_ops(_ENCRYPTS, "encrypt")
        if isinstance(plaintext, str):
            try:
                plaintext = plaintext.encode()
            except UnicodeEncodeError:
                raise TokenBuildError("the content is no text that UTF-8 can hold") from None
        if not isinstance(cast("object", plaintext), bytes):
            raise TokenBuildError(f"content is str or bytes, not {type(plaintext).__name__}")
        if not isinstance(cast("object", content_type), str | None):
            raise TokenBuildError(f"content_type must be a string, not {shown(content_type)}")
        header = {"alg": self._algorithm, "enc": self._encryption}
        if self._kid is not None:
            header["kid"] = self._kid
        if content_type is not None:
            header["cty"] = content_type
        return encrypt_compact(header, plaintext, self._key, registry=self._registry)

    def decrypt(self, token: str | bytes, *, content_type: str | None = "JWT") -> bytes:
        """Decrypt what was encrypted to this key with the same `content_type`.

        Raises:
            TokenError: it was not, or was tampered with; which of the two is not told.
        """
        self._check_ops(_DECRYPTS, "decrypt")
        raw = ascii_token(token, self._max_size)
        parts = raw.split(b".", _PARTS)
        if len(parts) != _PARTS:
            raise TokenMalformedError("the token is not encrypted, as this verifier demands")
        self._check(decode_part(parts[0], "header"), content_type)
        plaintext = self._opened(raw) if all(map(_decodes, parts[1:])) else None
        if plaintext is None:
            raise DecryptionError("the token cannot be decrypted with this key")
        return plaintext

    def _opened(self, raw: bytes) -> bytes | None:
        try:
            return decrypt_compact(raw, self._key, registry=self._registry).plaintext
        except Exception:  # noqa: BLE001  # all failures look the same, so that none is an oracle
            return None

    def _check_ops(self, needed: frozenset[str], what: str) -> None:
        if self._ops is not None and needed.isdisjoint(self._ops):
            raise InvalidKeyError(
                f"key {shown(self._kid)} is for {shown(self._ops)}, and not to {what}"
            )

    def _check(self, header: dict[str, Any], content_type: str | None) -> None:
        if not self._private:
            raise DecryptionError("a public key decrypts nothing")
        for name in ("crit", "zip"):
            if name in header:
                raise TokenHeaderError(f"the header has {name!r}, which no verifier here obeys")
        if (header.get("alg"), header.get("enc")) != (self._algorithm, self._encryption):
            raise AlgorithmRefusedError(
                f"the token is encrypted by {shown(header.get('alg'))} and"
                f" {shown(header.get('enc'))}; this verifier takes {self._algorithm} and"
                f" {self._encryption}"
            )
        if self._kid is not None and header.get("kid", self._kid) != self._kid:
            raise DecryptionError(f"the token is encrypted to key {shown(header['kid'])}")
        cty: object = header.get("cty")
        if not isinstance(cty, str | None) or _lower(cty) != _lower(content_type):
            raise TokenHeaderError(
                f"the encrypted content is {shown(cty)}; this verifier takes {content_type}"
            )

    def __repr__(self) -> str:
        return f"JweCipher({self._algorithm}, {self._encryption}, kid={shown(self._kid)})"

    def __reduce__(self) -> NoReturn:
        refuse_pickling(self)


def _lower(cty: str | None) -> str | None:
    return None if cty is None else cty.lower().removeprefix("application/")


def _decodes(part: bytes) -> bool:
    try:
        b64decode(part)
    except ValueError:
        return False
    return True


def _algorithm_of(key: JsonWebKey, encryption: str) -> str:
    algorithm = _BY_TYPE[key.kty]
    if key.use not in {None, "enc"}:
        raise InvalidKeyError(f"key {shown(key.kid)} is for {shown(key.use)}, not for encryption")
    if key.alg not in {None, algorithm} and not (algorithm == "dir" and key.alg == encryption):
        raise InvalidKeyError(
            f"key {shown(key.kid)} is for {shown(key.alg)}, and not for {algorithm} {encryption}"
        )
    if key.crv not in _CURVES:
        raise InvalidKeyError(f"nothing can be encrypted to a key on {shown(key.crv)}")
    if algorithm == "dir":
        bits = len(b64decode((key.k or "").encode())) * 8
        if bits != _ENCRYPTIONS[encryption]:
            raise InvalidKeyError(
                f"{encryption} takes a secret of {_ENCRYPTIONS[encryption]} bits, not {bits}"
            )
    return algorithm
