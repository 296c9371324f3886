"""Where the keys of an issuer come from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from varco_auth_jwt._errors import KeyLoadError, shown

if TYPE_CHECKING:
    from varco_auth_jwt._authority import JwtAuthority
    from varco_auth_jwt._jwk_set import JsonWebKeySet
    from varco_auth_jwt._rotation import MultiKeyAuthority
    from varco_auth_jwt._states import IssuerState


@runtime_checkable
class IssuerSource(Protocol):
    """The keys of one issuer. A source caches: `load` is called for every token.

    A source may have more: `issuer`, if it knows whose keys it has, so that it is not registered
    for another; `async renew()`, which a running registry calls every second, to fetch ahead of
    expiry; and for operators `fetch_state()`, or `state()` of an authority.
    """

    @property
    def source_id(self) -> str:
        """What logs call it."""
        ...

    async def load(self) -> JsonWebKeySet:
        """The keys as of now; the same object as long as they are the same keys."""
        ...

    async def refresh(self) -> JsonWebKeySet:
        """The keys, asked for anew because a token named one that `load` did not have."""
        ...


class AuthoritySource:
    """The keys of an authority in this process, always as they are now."""

    def __init__(self, authority: JwtAuthority | MultiKeyAuthority, *, issuer: str) -> None:
        self._authority = authority
        self._issuer = issuer

    @property
    def source_id(self) -> str:
        """The issuer."""
        return f"authority:{self._issuer}"

    @property
    def issuer(self) -> str:
        """Whose keys these are."""
        return self._issuer

    def state(self) -> IssuerState:
        """What may be told of the authority."""
        return self._authority.state()

    async def load(self) -> JsonWebKeySet:
        """The keys that verify."""
        return self._authority.verifying_keys()

    async def refresh(self) -> JsonWebKeySet:
        """The keys that verify."""
        return self._authority.verifying_keys()


class IssuerSourceFactory:
    """Makes a source of one line of configuration."""

    @classmethod
    def from_string(cls, value: str, *, algorithm: str = "RS256", use: str = "sig") -> IssuerSource:
        """A source of `oidc:URL`, `jwks:URL`, `pem:PATH` or `pem-folder:PATH`.

        Without a prefix, a URL whose path ends in `/.well-known/openid-configuration` is OIDC
        discovery, any other URL a JWK set, a folder is a PEM folder, and any other path a PEM file
        whose name without suffix is the `kid`. `algorithm` and `use` are for PEM.

        Raises:
            KeyLoadError: it is none of these.
        """
        kind, colon, rest = value.partition(":")
        if not colon or kind not in {"oidc", "jwks", "pem", "pem-folder"}:
            kind, rest = _guessed(value)
        if not rest:
            raise KeyLoadError(f"{shown(value)} is no source: oidc:URL, jwks:URL, pem:PATH, ...")
        if kind in {"oidc", "jwks"}:
            from varco_auth_jwt._remote import JwksUrlSource, OidcDiscoverySource  # noqa: PLC0415  # for remote sources only

            return OidcDiscoverySource(rest) if kind == "oidc" else JwksUrlSource(rest)
        from varco_auth_jwt._files import PemFileSource, PemFolderSource  # noqa: PLC0415  # for files only

        path = Path(rest)
        if kind == "pem-folder":
            return PemFolderSource(path, algorithm=algorithm, use=use)
        return PemFileSource(path, path.stem, algorithm, use)


def _guessed(value: str) -> tuple[str, str]:
    discovery = "/.well-known/openid-configuration"
    if value.startswith(("https://", "http://")):
        if value.endswith(discovery):
            return "oidc", value.removesuffix(discovery)
        return "jwks", value
    return ("pem-folder" if value and Path(value).is_dir() else "pem"), value
