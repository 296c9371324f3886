"""Who may look, and who may act."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from enum import StrEnum
from typing import Final, Protocol

from starlette.requests import Request


class Permission(StrEnum):
    """What somebody may do in the console."""

    LOOK = "look"
    """See every page, without payloads and headers."""
    PAYLOAD = "payload"
    """See payloads and headers, but for what is hidden."""
    RETRY = "retry"
    """Retry failures."""
    DISCARD = "discard"
    """Discard failures for good."""
    EDIT = "edit"
    """Put changed copies beside failures."""
    RELEASE = "release"
    """Have held-back keys of an outbox tried now."""
    BREAKER = "breaker"
    """Open, close and isolate circuit breakers."""
    CACHE = "cache"
    """Drop what caches hold."""


READ_ONLY: Final = frozenset({Permission.LOOK, Permission.PAYLOAD})
"""To look at everything, and to act on nothing."""
FULL_ACCESS: Final = frozenset(Permission)
"""Every permission that there is."""


class Operator(Protocol):
    """Who uses the console; an `AuthContext` of varco-domain is one."""

    @property
    def user_id(self) -> str | None:
        """The name in the audit; nobody is known by an empty one, or None."""
        ...


type Identify = Callable[[Request], Awaitable[Operator | None]]
"""Finds out who sends a request; None when nobody known does."""

type AccessOf[O: Operator] = Callable[[O], Collection[Permission]]
"""Says what somebody may do; nothing unless it is said."""


class OperatorWithRoles(Operator, Protocol):
    """An operator whose roles are known, such as an `AuthContext` of varco-domain."""

    @property
    def roles(self) -> Collection[str]:
        """The names of the roles."""
        ...


def access_by_role(
    permissions: Mapping[str, Collection[Permission]],
) -> AccessOf[OperatorWithRoles]:
    """What lets somebody do what any of their roles may.

    Args:
        permissions: What each role may do; other roles may do nothing.
    """

    def access(operator: OperatorWithRoles) -> frozenset[Permission]:
        return frozenset(each for role in operator.roles for each in permissions.get(role, ()))

    return access
