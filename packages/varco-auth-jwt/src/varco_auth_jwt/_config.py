"""Trusted issuers from the environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from varco_auth_jwt._issuers import IssuerConfig, issuers_in
from varco_auth_jwt._registry import TrustedIssuerRegistry, register_all

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class AuthorizationConfig:
    """The issuers to trust."""

    issuers: tuple[IssuerConfig, ...] = ()

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the labels in `VARCO_ISSUERS`, separated by commas, and the variables of each.

        Of label `corp` these are `VARCO_ISSUER_CORP_ISS`, `VARCO_ISSUER_CORP_SOURCE` and, if
        wanted, `VARCO_ISSUER_CORP_ALGORITHM`.

        Raises:
            AuthorityError: a label is malformed, or one of its variables is missing.
        """
        return cls(issuers_in(environ))

    def to_registry(self) -> TrustedIssuerRegistry:
        """A registry that trusts these issuers."""
        registry = TrustedIssuerRegistry()
        self.register_in(registry)
        return registry

    def register_in(self, registry: TrustedIssuerRegistry) -> None:
        """Make a registry trust these issuers too."""
        register_all(self.issuers, registry)
