"""Between claims and `AuthContext`, for those who installed the `domain` extra."""

from __future__ import annotations

from functools import cache, lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, cast

from varco_auth_jwt._errors import ClaimInvalidError, TokenBuildError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from varco_domain.auth import AuthContext, ResourceGrant

_GRANTS_REMEMBERED: Final = 512


def claims_of(ctx: AuthContext) -> dict[str, Any]:
    """The claims that carry a context, but for its user, who is the subject.

    Raises:
        TokenBuildError: a scope holds white space, so that `scope` could not be taken apart again.
    """
    claims: dict[str, Any] = {}
    if ctx.roles:
        claims["roles"] = sorted(ctx.roles)
    if ctx.scopes:
        for scope in ctx.scopes:
            if scope.split() != [scope]:
                raise TokenBuildError(f"a scope holds no white space: {shown(scope)}")
        claims["scope"] = " ".join(sorted(ctx.scopes))
    if ctx.grants:
        claims["grants"] = [
            {"resource": grant.resource, "actions": sorted(map(str, grant.actions))}
            for grant in ctx.grants
        ]
    if ctx.metadata:
        claims["metadata"] = dict(ctx.metadata)
    return claims


def context_of(sub: str | None, extra: Mapping[str, Any]) -> AuthContext:
    """The context in a token's own claims, with its subject as the user.

    Raises:
        ClaimInvalidError: a claim is not what it should be.
    """
    metadata = extra.get("metadata", {})
    if not isinstance(metadata, dict):
        raise ClaimInvalidError("the claim 'metadata' must be an object", claim="metadata")
    scopes = frozenset[str]()
    for name in ("scope", "scopes", "scp"):
        if name in extra:
            scopes |= _names(extra, name, spaced=True)
    context: AuthContext = _auth().AuthContext(
        user_id=sub,
        roles=_names(extra, "roles", spaced=False),
        scopes=scopes,
        grants=_grants(extra.get("grants", [])),
        metadata=dict(cast("dict[str, Any]", metadata)),
    )
    return context


@cache
def _auth() -> Any:
    try:
        return import_module("varco_domain.auth")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("varco_domain"):
            raise
        raise ImportError(
            "AuthContext lives in varco-domain: pip install 'varco-auth-jwt[domain]'"
        ) from None


def _names(claims: Mapping[str, Any], name: str, *, spaced: bool) -> frozenset[str]:
    """A claim that is a list of names, or one text: names by spaces, or a single name."""
    value: object = claims.get(name, [])
    if isinstance(value, str):
        return frozenset(value.split() if spaced else [value] if value else [])
    if not isinstance(value, list) or not all(
        isinstance(one, str) for one in cast("list[object]", value)
    ):
        raise ClaimInvalidError(f"the claim {name!r} must be a string or a list", claim=name)
    return frozenset(cast("list[str]", value))


def _grants(value: object) -> tuple[ResourceGrant, ...]:
    if not isinstance(value, list):
        raise ClaimInvalidError("the claim 'grants' must be a list", claim="grants")
    return tuple(_grant(one) for one in cast("list[object]", value))


def _grant(value: object) -> ResourceGrant:
    members = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    resource = members.get("resource")
    if not isinstance(resource, str) or "actions" not in members:
        raise ClaimInvalidError("each of 'grants' names a resource and actions", claim="grants")
    return _granted(resource, _names(members, "actions", spaced=False))


# The roles of an application make few grants, and every token of a role has the same.
@lru_cache(maxsize=_GRANTS_REMEMBERED)
def _granted(resource: str, names: frozenset[str]) -> ResourceGrant:
    auth = _auth()
    known = {str(action) for action in auth.Action}
    if not names <= known:
        raise ClaimInvalidError(
            f"'grants' name actions that are none: {shown(sorted(names - known))}", claim="grants"
        )
    grant: ResourceGrant = auth.ResourceGrant(
        resource, frozenset(auth.Action(one) for one in names)
    )
    return grant
