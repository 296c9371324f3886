"""Where the tenant of a request stands; what the client chooses is checked against the caller."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol, cast

from varco_domain.auth import AuthContext
from varco_http._errors import HttpConfigError, TenantRefusedError

_LONGEST: Final = 255
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")

type Allows = Callable[[AuthContext, Mapping[str, Any], str], bool]
"""Tells whether a caller, with these claims, is of a tenant."""


class TenantOf(Protocol):
    """Finds the tenant of a request."""

    def read(
        self, headers: Mapping[str, str], ctx: AuthContext, claims: Mapping[str, Any]
    ) -> str | None:
        """The tenant; None for a caller who has none, such as one who is not known.

        Raises:
            TenantRefusedError: There is none, or one that the caller is not of.
        """
        ...


class TenantFromClaim:
    """The tenant is a claim of the caller's token.

    Args:
        claim: The name of the claim.
        required: Whether a caller without it is refused here; else the services refuse.
    """

    def __init__(self, claim: str = "tenant", *, required: bool = True) -> None:
        self._claim = claim
        self._required = required

    def read(
        self, headers: Mapping[str, str], ctx: AuthContext, claims: Mapping[str, Any]
    ) -> str | None:
        """The claim.

        Raises:
            TenantRefusedError: There is none, or it is no text.
        """
        del headers
        found: object = claims.get(self._claim)
        if isinstance(found, str) and _is_tenant(found):
            return found
        if found is None and (ctx.is_anonymous() or not self._required):
            return None
        raise TenantRefusedError("the token names no tenant")


class TenantFromHeader:
    """The tenant is what a header says, if the caller is of it.

    Args:
        header: The name of the header.
        claim: The claim of the caller's token with the tenant, or the list of tenants, of whom
            the header has to name one.
        allows: Decides instead of a claim.

    Raises:
        HttpConfigError: Neither or both of claim and allows are given.
    """

    def __init__(
        self, header: str = "X-Tenant", *, claim: str | None = None, allows: Allows | None = None
    ) -> None:
        self._header = header
        self._allows = _checked(claim, allows)

    def read(
        self, headers: Mapping[str, str], ctx: AuthContext, claims: Mapping[str, Any]
    ) -> str | None:
        """The tenant that the header names.

        Raises:
            TenantRefusedError: There is none, or one that the caller is not of.
        """
        name = headers.get(self._header.lower())
        if name is None or not _is_tenant(name):
            raise TenantRefusedError(f"the request names no tenant in {self._header}")
        return _allowed(self._allows, ctx, claims, name)


class TenantFromHost:
    """The tenant is the first label of the host: `acme.tracker.example`.

    Args:
        domain: What follows the label: `tracker.example`.
        claim: As for `TenantFromHeader`.
        allows: Decides instead of a claim.

    Raises:
        HttpConfigError: Neither or both of claim and allows are given.
    """

    def __init__(
        self, domain: str, *, claim: str | None = None, allows: Allows | None = None
    ) -> None:
        self._suffix = f".{domain.strip('.').lower()}"
        self._allows = _checked(claim, allows)

    def read(
        self, headers: Mapping[str, str], ctx: AuthContext, claims: Mapping[str, Any]
    ) -> str | None:
        """The tenant that the host names.

        Raises:
            TenantRefusedError: There is none, or one that the caller is not of.
        """
        host = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
        host = host.lower().removesuffix(".")
        label = host.removesuffix(self._suffix)
        if label == host or _LABEL.fullmatch(label) is None:
            raise TenantRefusedError("the host names no tenant")
        return _allowed(self._allows, ctx, claims, label)


def _is_tenant(text: str) -> bool:
    return 0 < len(text) <= _LONGEST and text.isprintable() and text == text.strip()


def _allowed(allows: Allows, ctx: AuthContext, claims: Mapping[str, Any], tenant: str) -> str:
    if not allows(ctx, claims, tenant):
        # Whether there is such a tenant is not told.
        raise TenantRefusedError("the caller is not of this tenant")
    return tenant


def _checked(claim: str | None, allows: Allows | None) -> Allows:
    if (claim is None) == (allows is None):
        raise HttpConfigError(
            "anybody can write a tenant's name: say by which claim=, or with which allows=, the "
            "caller is known to be of it"
        )
    if allows is not None:
        return allows

    def by_claim(ctx: AuthContext, claims: Mapping[str, Any], tenant: str) -> bool:
        del ctx
        found: Any = claims.get(cast("str", claim))
        if isinstance(found, str):
            return found == tenant
        return isinstance(found, (list, tuple)) and tenant in cast("Iterable[object]", found)

    return by_claim
