"""The tracker put together: the only file that knows where things are kept."""

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from tracker.mailer import Mailer
from tracker.models import Comment, Project, Ticket
from tracker.services import AUTHORIZER, CommentService, ProjectService, TicketService
from varco_console import FULL_ACCESS, READ_ONLY, AuditRecord, Console, RepositoryAudit
from varco_console import TokenSignIn, access_by_role
from varco_core import AbstractEventBus, AsyncService, CacheBackend, InMemoryCache
from varco_core import InMemoryEventBus, JwtAuthority, NoOpCache, OutboxRelay
from varco_http import BearerTokens, Callers, HttpAction, HttpApplication, HttpResource
from varco_http import Idempotency, IdempotencyRecord, TenantFromClaim

HOME = Path(os.environ.get("TRACKER_HOME", Path(__file__).parent / "var"))


def authority() -> JwtAuthority:
    return JwtAuthority.from_file(HOME / "key.pem", issuer="https://tracker.test", create="EdDSA")


def assemble() -> dict[str, Any]:
    tokens, (bus, cache) = authority(), shared()
    AsyncService.cursor_key = tokens.secret("cursors")
    url = os.environ.get("TRACKER_DATABASE") or f"sqlite+aiosqlite:///{HOME}/tracker.sqlite"
    database = import_module("varco_beanie" if url.startswith("mongodb") else "varco_sa")
    backend = database.Backend.at(url, Project, Ticket, Comment, IdempotencyRecord, AuditRecord)
    store = backend.uow_provider
    Mailer(HOME / "mails", backend.dead_letters).register_to(bus)
    relay = OutboxRelay(outbox=backend.outbox, bus=bus, dlq=backend.dead_letters)
    callers = Callers(BearerTokens(tokens), tenant=TenantFromClaim("tenant"))
    services = [each(store, AUTHORIZER) for each in (TicketService, CommentService)]
    services.append(ProjectService(store, AUTHORIZER, cache=cache))
    application = HttpApplication(callers, services=services)
    once = Idempotency(store)
    projects = HttpResource(ProjectService, "/projects", idempotency=once)
    close = HttpAction("close", records=True)
    tickets = HttpResource(TicketService, "/tickets", actions=[close], idempotency=once)
    theirs = HttpResource(
        TicketService, "/tickets", parent=projects, name="project_tickets", idempotency=once
    )
    comments = HttpResource(CommentService, "/comments", parent=tickets, idempotency=once)
    console = Console(
        {"Dead letters": backend.dead_letters.failures(bus), "Outbox": backend.outbox.failures()},
        identify=TokenSignIn(tokens),
        # Operators see what fails of all tenants: administrators of one tenant are none.
        access=access_by_role({"operator": FULL_ACCESS, "auditor": READ_ONLY}),
        title="Tracker",
        secret=tokens.secret("console"),
        audit=RepositoryAudit(store),
        relays={"Outbox": relay},
        caches={"Cache": cache},
        keys={"Tokens": tokens},
        health=application.health,
    )
    return {
        "application": application,
        "resources": [projects, tickets, theirs, comments],
        "parts": [backend, cache, bus, relay],
        "mounts": {"/ops": console},
    }


def shared() -> tuple[AbstractEventBus, CacheBackend]:
    """The bus and the cache: in Kafka and Redis, or in the process."""
    bus: AbstractEventBus = InMemoryEventBus()
    # Several processes without Redis do not hear of each other's changes: nothing is kept then.
    alone = os.environ.get("TRACKER_WORKERS", "1") == "1"
    cache: CacheBackend = InMemoryCache(max_size=10_000) if alone else NoOpCache()
    if redis := os.environ.get("TRACKER_REDIS"):
        from varco_redis import RedisCache, RedisCacheSettings, RedisEventBus, RedisEventBusSettings

        cache = RedisCache(RedisCacheSettings(url=redis, key_prefix="tracker:"))
        bus = RedisEventBus(RedisEventBusSettings(url=redis))
    if kafka := os.environ.get("TRACKER_KAFKA"):
        from varco_kafka import KafkaEventBus, KafkaEventBusSettings

        bus = KafkaEventBus(KafkaEventBusSettings(url=kafka, topic="tracker.{channel}"))
    return bus, cache


def fastapi() -> Any:
    from varco_fastapi import make_app

    return make_app(**assemble(), title="Tracker")


def litestar() -> Any:
    from litestar import Litestar

    from varco_litestar import VarcoPlugin

    return Litestar(plugins=[VarcoPlugin(**assemble())])
