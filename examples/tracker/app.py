"""The tracker put together: the only file that knows where things are kept."""

import os
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tracker.mailer import Mailer
from tracker.models import Comment, Project, Ticket
from tracker.services import AUTHORIZER, CommentService, ProjectService, TicketService
from varco_console import FULL_ACCESS, READ_ONLY, AuditRecord, Console, Permission
from varco_console import RepositoryAudit, TokenSignIn
from varco_core import AbstractEventBus, AsyncService, AuthContext, CacheBackend, InMemoryCache
from varco_core import InMemoryEventBus, JwtAuthority, NoOpCache, OutboxRelay
from varco_http import BearerTokens, Callers, HttpAction, HttpApplication, HttpResource
from varco_http import Idempotency, IdempotencyRecord, Part, TenantFromClaim
from varco_sa import Backend, SQLAlchemyRepositoryProvider, make_engine

HOME = Path(os.environ.get("TRACKER_HOME", Path(__file__).parent / "var"))


def key() -> bytes:
    """The private key that all processes share, made by the first."""
    path = HOME / "key.pem"
    if not path.exists():
        HOME.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkstemp(dir=HOME)[1])  # only its owner may read it
        form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        pem = Ed25519PrivateKey.generate().private_bytes(serialization.Encoding.PEM, *form)
        draft.write_bytes(pem)
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_bytes()


def authority() -> JwtAuthority:
    return JwtAuthority.from_pem(key(), issuer="https://tracker.example")


def assemble() -> tuple[HttpApplication, list[HttpResource], list[Part], Console]:
    AsyncService.cursor_key = sha256(b"cursors" + key()).digest()
    url = os.environ.get("TRACKER_DATABASE") or f"sqlite+aiosqlite:///{HOME}/tracker.sqlite"
    store = SQLAlchemyRepositoryProvider(
        make_engine(url), Project, Ticket, Comment, IdempotencyRecord, AuditRecord
    )
    backend, bus, cache = Backend(store, owns_engine=True), *shared()
    Mailer(HOME / "mails", backend.dead_letters).register_to(bus)
    relay = OutboxRelay(outbox=backend.outbox, bus=bus, dlq=backend.dead_letters)

    @asynccontextmanager
    async def database(application: HttpApplication) -> AsyncGenerator[None]:
        async with backend:
            await store.create_tables()
            application.health.register("database", lambda: backend.outbox.get_pending(limit=1))
            yield

    application = HttpApplication(
        Callers(BearerTokens(authority()), tenant=TenantFromClaim("tenant")),
        services=[
            ProjectService(store, AUTHORIZER, cache=cache),
            TicketService(store, AUTHORIZER),
            CommentService(store, AUTHORIZER),
        ],
    )
    once = Idempotency(store)
    close = HttpAction("close", records=True)
    projects = HttpResource(ProjectService, "/projects", idempotency=once)
    tickets = HttpResource(TicketService, "/tickets", actions=[close], idempotency=once)
    theirs = HttpResource(
        TicketService, "/tickets", parent=projects, name="project_tickets", idempotency=once
    )
    comments = HttpResource(CommentService, "/comments", parent=tickets, idempotency=once)
    console = Console(
        {"Dead letters": backend.dead_letters.failures(bus), "Outbox": backend.outbox.failures()},
        identify=TokenSignIn(authority()),
        access=operators,
        title="Tracker",
        secret=sha256(b"console" + key()).digest(),
        audit=RepositoryAudit(store),
        caches={"Cache": cache},
        keys={"Tokens": authority()},
        health=application.health,
    )
    parts: list[Part] = [database, cache, bus, relay]
    return application, [projects, tickets, theirs, comments], parts, console


def operators(ctx: AuthContext) -> frozenset[Permission]:
    """Operators see what fails of all tenants: administrators of one tenant are none."""
    if ctx.has_role("operator"):
        return FULL_ACCESS
    return READ_ONLY if ctx.has_role("auditor") else frozenset()


def shared() -> tuple[AbstractEventBus, CacheBackend]:
    """The bus and the cache: in Redis, or in the process."""
    if redis := os.environ.get("TRACKER_REDIS"):
        from varco_redis import RedisCache, RedisCacheSettings, RedisEventBus, RedisEventBusSettings

        settings = RedisCacheSettings(url=redis, key_prefix="tracker:")
        return RedisEventBus(RedisEventBusSettings(url=redis)), RedisCache(settings)
    # Several processes without Redis do not hear of each other's changes: nothing is kept then.
    alone = os.environ.get("TRACKER_WORKERS", "1") == "1"
    return InMemoryEventBus(), InMemoryCache(max_size=10_000) if alone else NoOpCache()


def fastapi() -> Any:
    from fastapi import FastAPI

    from varco_fastapi import install, lifespan, resource

    application, resources, parts, console = assemble()
    app = FastAPI(title="Tracker", lifespan=lifespan(application, *parts))
    install(app, application)
    for each in resources:
        app.include_router(resource(each))
    app.mount("/ops", console)
    return app


def litestar() -> Any:
    from litestar import Litestar, asgi

    from varco_litestar import VarcoPlugin, resource

    application, resources, parts, console = assemble()
    plugin = VarcoPlugin(application, parts=parts)
    ops = asgi("/ops", is_mount=True, copy_scope=True)(console)
    return Litestar([ops, *(resource(each) for each in resources)], plugins=[plugin])
