"""Who may do what: contexts, grants and authorizers."""

from varco_domain.auth._base import (
    ANONYMOUS,
    AbstractAuthorizer,
    Action,
    AuthContext,
    BaseAuthorizer,
    Resource,
    ResourceGrant,
    resource_key,
)

__all__ = (
    "ANONYMOUS",
    "AbstractAuthorizer",
    "Action",
    "AuthContext",
    "BaseAuthorizer",
    "Resource",
    "ResourceGrant",
    "resource_key",
)
