"""What a console was given."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from varco_console._access import AccessOf, Identify
from varco_console._audit import AuditLog
from varco_console._redaction import Hides
from varco_console._security import Forms
from varco_events import ConsumerStates, FailureStore, RelayStatus


class Breaker(Protocol):
    """What the console needs of a circuit breaker; that of varco-resilience has it."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def state(self) -> Any:
        """Its state, whose `value` is "closed", "open" or "half_open"."""
        ...

    @property
    def isolated(self) -> bool:
        """Whether it stays open until somebody closes it."""
        ...

    @property
    def failure_count(self) -> int:
        """Failures in a row."""
        ...

    def open(self) -> None:
        """Open it."""
        ...

    def close(self) -> None:
        """Close it."""
        ...

    def isolate(self) -> None:
        """Keep it open."""
        ...


class Cache(Protocol):
    """What the console needs of a cache; every one of varco-cache has it."""

    def stats(self) -> Any:
        """Its figures: `hits`, `misses`, `loads`, `entries`, `size_bytes`, `hit_ratio`."""
        ...

    async def invalidate_tags(self, *tags: str) -> None:
        """Drop what has one of the tags."""
        ...

    async def delete_prefix(self, prefix: str) -> None:
        """Drop what begins so."""
        ...


class Authority(Protocol):
    """What the console needs of who signs tokens; the authorities of varco-auth-jwt have it.

    Of one without `state`, the names of its keys are shown: its `kid`, or `active_kid` and `kids`.
    """

    @property
    def issuer(self) -> str:
        """Whose tokens they are."""
        ...


class Issuers(Protocol):
    """What the console needs of whose tokens are trusted; a `TrustedIssuerRegistry` has it."""

    def states(self) -> Iterable[Any]:
        """What may be told of each issuer: an `IssuerState` of varco-auth-jwt."""
        ...


class Relay(Protocol):
    """What the console needs of a relay; an `OutboxRelay` has it."""

    @property
    def status(self) -> RelayStatus:
        """What it did last."""
        ...


class HealthCheck(Protocol):
    """What the console needs of health; that of varco-http has it."""

    async def ready(self) -> Any:
        """Ask all parts: an answer with `status`, and a `body` of JSON."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a console was given; see `Console`."""

    title: str
    stores: Mapping[str, "Named"]
    identify: Identify | None
    access: AccessOf[Any]
    forms: Forms
    audit: AuditLog
    hides: Hides
    trace_url: str | None
    buses: Mapping[str, ConsumerStates]
    relays: Mapping[str, Relay]
    breakers: Iterable[Breaker]
    caches: Mapping[str, Cache]
    keys: Mapping[str, Authority | Issuers]
    health: HealthCheck | None
    timeout: float


@dataclass(frozen=True, slots=True)
class Named:
    """A store of failures under the name that people know it by, and as URLs have it."""

    slug: str
    name: str
    store: FailureStore
