"""Issue and verify JSON Web Tokens, keys and key sets, right by default."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from varco_auth_jwt._builder import JwtBuilder
    from varco_auth_jwt._errors import (
        AlgorithmRefusedError,
        AudienceRefusedError,
        AuthJwtError,
        AuthorityError,
        ClaimError,
        ClaimInvalidError,
        ClaimMissingError,
        DecryptionError,
        InvalidKeyError,
        IssuerNotFoundError,
        IssuerRefusedError,
        KeyLoadError,
        KeysUnavailableError,
        RefreshReusedError,
        RefreshUnknownError,
        RevocationUnavailableError,
        ShortSecretWarning,
        SignatureInvalidError,
        TokenBuildError,
        TokenError,
        TokenExpiredError,
        TokenHeaderError,
        TokenMalformedError,
        TokenNotYetValidError,
        TokenRevokedError,
        TokenTooLargeError,
        TokenTooOldError,
        TokenTypeError,
        TokenUnverifiedError,
        UnknownKidError,
        WeakKeyError,
    )
    from varco_auth_jwt._jwk import JsonWebKey, JsonWebKeySet
    from varco_auth_jwt._parser import JwtParser
    from varco_auth_jwt._token import JsonWebToken, UnverifiedToken
    from varco_auth_jwt._util import SYSTEM_ISSUER, JwtUtil
else:
    _MODULES = {
        "_builder": ("JwtBuilder",),
        "_jwk": ("JsonWebKey", "JsonWebKeySet"),
        "_parser": ("JwtParser",),
        "_token": ("JsonWebToken", "UnverifiedToken"),
        "_util": ("SYSTEM_ISSUER", "JwtUtil"),
    }
    _OWNER = {name: module for module, names in _MODULES.items() for name in names}

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_OWNER.get(name, '_errors')}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = (
    "SYSTEM_ISSUER",
    "AlgorithmRefusedError",
    "AudienceRefusedError",
    "AuthJwtError",
    "AuthorityError",
    "ClaimError",
    "ClaimInvalidError",
    "ClaimMissingError",
    "DecryptionError",
    "InvalidKeyError",
    "IssuerNotFoundError",
    "IssuerRefusedError",
    "JsonWebKey",
    "JsonWebKeySet",
    "JsonWebToken",
    "JwtBuilder",
    "JwtParser",
    "JwtUtil",
    "KeyLoadError",
    "KeysUnavailableError",
    "RefreshReusedError",
    "RefreshUnknownError",
    "RevocationUnavailableError",
    "ShortSecretWarning",
    "SignatureInvalidError",
    "TokenBuildError",
    "TokenError",
    "TokenExpiredError",
    "TokenHeaderError",
    "TokenMalformedError",
    "TokenNotYetValidError",
    "TokenRevokedError",
    "TokenTooLargeError",
    "TokenTooOldError",
    "TokenTypeError",
    "TokenUnverifiedError",
    "UnknownKidError",
    "UnverifiedToken",
    "WeakKeyError",
)
