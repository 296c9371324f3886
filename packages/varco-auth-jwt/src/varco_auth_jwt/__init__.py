"""Issue and verify JSON Web Tokens, keys and key sets, right by default."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from varco_auth_jwt._authority import JwtAuthority
    from varco_auth_jwt._builder import JwtBuilder
    from varco_auth_jwt._config import AuthorizationConfig
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
    from varco_auth_jwt._files import PemFileSource, PemFolderSource
    from varco_auth_jwt._issuers import IssuerConfig
    from varco_auth_jwt._jwe import JweCipher
    from varco_auth_jwt._jwk import JsonWebKey
    from varco_auth_jwt._jwk_builder import JwkBuilder
    from varco_auth_jwt._jwk_set import JsonWebKeySet
    from varco_auth_jwt._observed import add_token_observer, remove_token_observer
    from varco_auth_jwt._observer import TokenObserver
    from varco_auth_jwt._parser import JwtParser
    from varco_auth_jwt._refresh import (
        InMemoryRefreshStore,
        RefreshStore,
        RefreshTokens,
        Rotation,
        Swap,
    )
    from varco_auth_jwt._registry import TrustedIssuerRegistry
    from varco_auth_jwt._remote import JwksUrlSource, OidcDiscoverySource
    from varco_auth_jwt._revocation import Denylist, InMemoryDenylist
    from varco_auth_jwt._rotation import MultiKeyAuthority
    from varco_auth_jwt._sources import AuthoritySource, IssuerSource, IssuerSourceFactory
    from varco_auth_jwt._states import FetchState, IssuerState, KeyState
    from varco_auth_jwt._token import JsonWebToken, UnverifiedToken
    from varco_auth_jwt._trusted import TrustedIssuerEntry
    from varco_auth_jwt._util import SYSTEM_ISSUER, JwtUtil
else:
    _MODULES = {
        "_authority": ("JwtAuthority",),
        "_builder": ("JwtBuilder",),
        "_config": ("AuthorizationConfig",),
        "_files": (
            "PemFileSource",
            "PemFolderSource",
        ),
        "_issuers": ("IssuerConfig",),
        "_jwe": ("JweCipher",),
        "_jwk": ("JsonWebKey",),
        "_jwk_builder": ("JwkBuilder",),
        "_jwk_set": ("JsonWebKeySet",),
        "_observed": (
            "add_token_observer",
            "remove_token_observer",
        ),
        "_observer": ("TokenObserver",),
        "_parser": ("JwtParser",),
        "_refresh": (
            "InMemoryRefreshStore",
            "RefreshStore",
            "RefreshTokens",
            "Rotation",
            "Swap",
        ),
        "_registry": ("TrustedIssuerRegistry",),
        "_remote": (
            "JwksUrlSource",
            "OidcDiscoverySource",
        ),
        "_revocation": (
            "Denylist",
            "InMemoryDenylist",
        ),
        "_rotation": ("MultiKeyAuthority",),
        "_sources": (
            "AuthoritySource",
            "IssuerSource",
            "IssuerSourceFactory",
        ),
        "_states": (
            "FetchState",
            "IssuerState",
            "KeyState",
        ),
        "_token": (
            "JsonWebToken",
            "UnverifiedToken",
        ),
        "_trusted": ("TrustedIssuerEntry",),
        "_util": (
            "SYSTEM_ISSUER",
            "JwtUtil",
        ),
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
    "AuthoritySource",
    "AuthorizationConfig",
    "ClaimError",
    "ClaimInvalidError",
    "ClaimMissingError",
    "DecryptionError",
    "Denylist",
    "FetchState",
    "InMemoryDenylist",
    "InMemoryRefreshStore",
    "InvalidKeyError",
    "IssuerConfig",
    "IssuerNotFoundError",
    "IssuerRefusedError",
    "IssuerSource",
    "IssuerSourceFactory",
    "IssuerState",
    "JsonWebKey",
    "JsonWebKeySet",
    "JsonWebToken",
    "JweCipher",
    "JwkBuilder",
    "JwksUrlSource",
    "JwtAuthority",
    "JwtBuilder",
    "JwtParser",
    "JwtUtil",
    "KeyLoadError",
    "KeyState",
    "KeysUnavailableError",
    "MultiKeyAuthority",
    "OidcDiscoverySource",
    "PemFileSource",
    "PemFolderSource",
    "RefreshReusedError",
    "RefreshStore",
    "RefreshTokens",
    "RefreshUnknownError",
    "RevocationUnavailableError",
    "Rotation",
    "ShortSecretWarning",
    "SignatureInvalidError",
    "Swap",
    "TokenBuildError",
    "TokenError",
    "TokenExpiredError",
    "TokenHeaderError",
    "TokenMalformedError",
    "TokenNotYetValidError",
    "TokenObserver",
    "TokenRevokedError",
    "TokenTooLargeError",
    "TokenTooOldError",
    "TokenTypeError",
    "TokenUnverifiedError",
    "TrustedIssuerEntry",
    "TrustedIssuerRegistry",
    "UnknownKidError",
    "UnverifiedToken",
    "WeakKeyError",
    "add_token_observer",
    "remove_token_observer",
)
