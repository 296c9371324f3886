"""The errors of this slice, as a tree.

AuthJwtError
├── TokenError                    the token is refused
│   ├── TokenTooLargeError
│   ├── TokenMalformedError
│   ├── TokenHeaderError
│   ├── TokenTypeError
│   ├── AlgorithmRefusedError
│   ├── SignatureInvalidError
│   ├── DecryptionError
│   ├── ClaimError
│   │   ├── ClaimMissingError
│   │   └── ClaimInvalidError
│   ├── IssuerRefusedError
│   ├── AudienceRefusedError
│   ├── TokenExpiredError
│   ├── TokenNotYetValidError
│   ├── TokenTooOldError
│   ├── TokenRevokedError
│   ├── TokenUnverifiedError
│   ├── RefreshUnknownError
│   ├── RefreshReusedError
│   └── UnknownKidError           (an AuthorityError too)
├── TokenBuildError               what was to be signed is not a sound token
├── InvalidKeyError               a key that is none, or must not be used like this
│   └── WeakKeyError
└── AuthorityError
    ├── IssuerNotFoundError
    ├── KeyLoadError
    ├── KeysUnavailableError
    └── RevocationUnavailableError
"""

from __future__ import annotations

from typing import ClassVar

_SHOWN = 80


def shown(value: object) -> str:
    """A stranger's value as it may stand in a log: ASCII, escaped and short."""
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


class AuthJwtError(Exception):
    """The base of every error that this slice raises.

    `code` is safe to log, `public_message` is safe to send to whoever sent the token; `str(error)`
    is for those who operate the service.
    """

    code: ClassVar[str] = "jwt.error"
    http_status: ClassVar[int] = 500
    public_message: ClassVar[str] = "The service cannot check tokens at the moment."


class TokenError(AuthJwtError):
    """A token was refused; which check refused it is in `code` and not in `public_message`."""

    code = "token.refused"
    http_status = 401
    public_message = "The token is not valid."


class TokenTooLargeError(TokenError):
    """The token is longer than the verifier reads; nothing of it was decoded."""

    code = "token.too_large"


class TokenMalformedError(TokenError):
    """The token is not a compact JWS (or JWE) of a JSON object."""

    code = "token.malformed"


class TokenHeaderError(TokenError):
    """The token's header asks for something that this verifier does not do."""

    code = "token.header"


class TokenTypeError(TokenError):
    """The token is of another type (`typ`) than the verifier was told to accept."""

    code = "token.type"


class AlgorithmRefusedError(TokenError):
    """The token names an algorithm that the verifier was not told to accept for its key."""

    code = "token.algorithm"


class SignatureInvalidError(TokenError):
    """The signature is not that of the key."""

    code = "token.signature"


class DecryptionError(TokenError):
    """The token cannot be decrypted with the key that the verifier has."""

    code = "token.decryption"


class ClaimError(TokenError):
    """A claim is missing or malformed; `claim` names it."""

    def __init__(self, message: str, *, claim: str = "") -> None:
        super().__init__(message)
        self.claim = claim


class ClaimMissingError(ClaimError):
    """The token lacks a claim that the verifier requires; `claim` names it."""

    code = "token.claim_missing"


class ClaimInvalidError(ClaimError):
    """A registered claim holds a value of the wrong kind; `claim` names it."""

    code = "token.claim_invalid"


class IssuerRefusedError(TokenError):
    """The token was issued by someone whom the verifier does not trust."""

    code = "token.issuer"


class AudienceRefusedError(TokenError):
    """The token is meant for somebody else."""

    code = "token.audience"


class TokenExpiredError(TokenError):
    """The token's time is over."""

    code = "token.expired"


class TokenNotYetValidError(TokenError):
    """The token is not valid yet, or says that it was issued in the future."""

    code = "token.not_yet_valid"


class TokenTooOldError(TokenError):
    """The token was issued longer ago than the verifier accepts."""

    code = "token.too_old"


class TokenRevokedError(TokenError):
    """The token was revoked."""

    code = "token.revoked"


class TokenUnverifiedError(TokenError):
    """Something was asked of an unverified token that only a verified one may answer."""

    code = "token.unverified"


class RefreshUnknownError(TokenError):
    """The refresh token belongs to no living family: it ended, or was revoked."""

    code = "refresh.unknown"


class RefreshReusedError(TokenError):
    """A refresh token came twice; its whole family is revoked."""

    code = "refresh.reused"


class TokenBuildError(AuthJwtError):
    """A builder was told something that makes no sound token."""

    code = "jwt.build"
    public_message = "The service cannot issue the token."


class InvalidKeyError(AuthJwtError):
    """A key is malformed, of the wrong kind, or not meant for this use."""

    code = "key.invalid"


class WeakKeyError(InvalidKeyError):
    """A key is too short for its algorithm."""

    code = "key.weak"


class AuthorityError(AuthJwtError):
    """Keys of an issuer could not be had."""

    code = "authority.error"


class IssuerNotFoundError(AuthorityError):
    """No issuer is registered under `label`."""

    code = "authority.issuer_not_found"

    def __init__(self, message: str, *, label: str = "") -> None:
        super().__init__(message)
        self.label = label


class KeyLoadError(AuthorityError):
    """A source answered with something that is no key set, or did not answer."""

    code = "authority.key_load"
    http_status = 503


class KeysUnavailableError(AuthorityError):
    """An issuer's keys are too old to be used and cannot be had anew: refused until they can."""

    code = "authority.keys_unavailable"
    http_status = 503


class RevocationUnavailableError(AuthorityError):
    """The denylist could not be asked, so that the token is refused."""

    code = "authority.revocation_unavailable"
    http_status = 503


class UnknownKidError(AuthorityError, TokenError):
    """The token names a key (`kid`) that its issuer does not have."""

    code = "token.unknown_kid"
    http_status = 401
    public_message: ClassVar[str] = TokenError.public_message

    def __init__(self, message: str, *, kid: str | None = None) -> None:
        super().__init__(message)
        self.kid = kid


class ShortSecretWarning(UserWarning):
    """An HMAC secret is shorter than RFC 7518 demands; said once in a process."""
