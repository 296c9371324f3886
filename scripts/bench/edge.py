"""Requests a second over HTTP: a hand-written FastAPI route on SQLAlchemy's ORM, and the adapters.

    uv run --with 'uvicorn[standard]' --with advanced-alchemy scripts/bench/edge.py [--rounds 5]

Each server in turn is pinned to one core, with wrk on another. All return the same rows of one
SQLite file. The route by hand and advanced-alchemy's check nothing, nor do routes that call the
same service (`called`); the adapters check a token, find the tenant, ask the authorizer, and answer
with ETag or links. advanced-alchemy counts all rows for each page. `least` is no framework at all:
an ASGI function that runs one text of SQL through SQLAlchemy's core and writes the tuples as JSON;
no adapter on this engine can win more than it does. Needs Debian's wrk.
"""

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from varco_core import (
    Action,
    AsyncService,
    AuthContext,
    AutoAssembler,
    FieldHint,
    GrantBasedAuthorizer,
    JwtAuthority,
    PagedReadDTO,
    QueryParser,
    ResourceGrant,
    TenantAwareService,
    TenantVersionedDomainModel,
    tenant_context,
)
from varco_http import BearerTokens, Callers, HttpApplication, HttpResource, TenantFromClaim
from varco_sa import SQLAlchemyRepositoryProvider, make_engine

ROWS = 1_000
HERE = Path(__file__)
PAGES = {"by_hand": "limit=100", "least": "limit=100", "advanced_alchemy": "pageSize=100"}
CONTENDERS = ("by_hand", "least", "called", "advanced_alchemy", "fastapi", "litestar")
FILTER = "filter=price%20%3E%3D%200%20AND%20name%20LIKE%20%27item%25%27&limit=100&sort=pk"


# The same rows in a table as the ORM makes it, with moments as it reads them.
_MOMENT = "'2026-11-28 08:00:00.000001'"
HAND = (
    """CREATE TABLE hand_items (
        pk INTEGER PRIMARY KEY, created_at DATETIME, updated_at DATETIME, tenant_id VARCHAR,
        name VARCHAR, price INTEGER, note VARCHAR, version INTEGER)""",
    f"""INSERT INTO hand_items
        SELECT pk, {_MOMENT}, {_MOMENT}, tenant_id, name, price, note, version FROM items""",
    "CREATE INDEX hand_tenant ON hand_items (tenant_id)",
)


class Item(TenantVersionedDomainModel):
    name: Annotated[str, FieldHint(max_length=100)]
    price: int
    note: str = ""


class Items(TenantAwareService, AsyncService[Item]):
    max_limit = 100


def store() -> SQLAlchemyRepositoryProvider:
    engine = make_engine(f"sqlite+aiosqlite:///{os.environ['BENCH_HOME']}/items.sqlite")
    return SQLAlchemyRepositoryProvider(engine, Item)


def authority() -> JwtAuthority:
    pem = Path(os.environ["BENCH_HOME"], "key.pem").read_bytes()
    return JwtAuthority.from_pem(pem, issuer="https://bench.example")


def application() -> HttpApplication:
    callers = Callers(BearerTokens(authority()), tenant=TenantFromClaim("tenant"))
    return HttpApplication(callers, services=[Items(store(), GrantBasedAuthorizer())])


def fastapi() -> Any:
    from varco_fastapi import make_app

    return make_app(application(), [HttpResource(Items, "/items")])


def litestar() -> Any:
    from litestar import Litestar

    from varco_litestar import VarcoPlugin, resource

    return Litestar([resource(HttpResource(Items, "/items"))], plugins=[VarcoPlugin(application())])


def by_hand() -> Any:
    """A route as FastAPI's tutorial has it, on SQLAlchemy's ORM."""
    from datetime import datetime

    from fastapi import FastAPI, HTTPException
    from pydantic import BaseModel, ConfigDict
    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
    from sqlalchemy.orm import DeclarativeBase

    engine = create_async_engine(f"sqlite+aiosqlite:///{os.environ['BENCH_HOME']}/items.sqlite")

    class Base(DeclarativeBase):
        pass

    class Row(Base):
        __table__ = sa.Table(
            "hand_items",
            Base.metadata,
            sa.Column("pk", sa.Integer, primary_key=True),
            sa.Column("created_at", sa.DateTime),
            sa.Column("updated_at", sa.DateTime),
            sa.Column("tenant_id", sa.String),
            sa.Column("name", sa.String),
            sa.Column("price", sa.Integer),
            sa.Column("note", sa.String),
            sa.Column("version", sa.Integer),
        )

    class Read(BaseModel):
        model_config = ConfigDict(from_attributes=True)
        pk: int
        created_at: datetime
        updated_at: datetime
        name: str
        price: int
        note: str
        version: int

    class Next(BaseModel):
        limit: int
        cursor: str

    class Page(BaseModel):
        results: list[Read]
        count: int
        next: Next | None
        previous: Next | None = None

    app = FastAPI()
    sessions = async_sessionmaker(engine, expire_on_commit=False, class_=AsyncSession)

    @app.get("/items/{pk}")
    async def one(pk: int) -> Read:
        async with sessions() as session:
            found = await session.scalar(
                sa.select(Row).where(Row.pk == pk, Row.tenant_id == "acme")
            )
            if found is None:
                raise HTTPException(404)
            return Read.model_validate(found)

    @app.get("/items")
    async def many(limit: int = 20) -> Page:
        async with sessions() as session:
            query = (
                sa.select(Row)
                .where(Row.tenant_id == "acme", Row.price >= 0, Row.name.like("item%"))
                .order_by(Row.pk)
                .limit(limit + 1)
            )
            found = (await session.scalars(query)).all()
            rows = [Read.model_validate(each) for each in found[:limit]]
            more = len(found) > limit
            following = Next(limit=limit, cursor=str(rows[-1].pk)) if more else None
            return Page(results=rows, count=len(rows), next=following)

    return app


def least() -> Any:
    """No framework, no model, no check: one text of SQL, whose tuples are written as objects."""
    from pydantic import TypeAdapter
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(f"sqlite+aiosqlite:///{os.environ['BENCH_HOME']}/items.sqlite")
    names = ("pk", "created_at", "updated_at", "name", "price", "note", "version")
    select = f"SELECT {', '.join(names)} FROM hand_items WHERE tenant_id = 'acme'"
    one = sa.text(f"{select} AND pk = 7")
    many = sa.text(f"{select} AND price >= 0 AND name LIKE 'item%' ORDER BY pk LIMIT 101")
    write = TypeAdapter(list[dict[str, Any]]).serializer.to_json

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del receive
        if scope["type"] != "http":
            return
        async with engine.connect() as connection:
            found = await connection.execute(one if scope["path"] == "/items/7" else many)
            rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()[:100]]
        body = write(rows)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def advanced_alchemy() -> Any:
    """The routes of advanced-alchemy's documented example, on the same rows; no checks."""
    from datetime import datetime

    import msgspec
    from advanced_alchemy.extensions.litestar import (
        SQLAlchemyAsyncConfig,
        SQLAlchemyPlugin,
        base,
        filters,
        providers,
        repository,
        service,
    )
    from litestar import Controller, Litestar, get
    from litestar.params import Dependency

    class Row(base.DefaultBase):
        __tablename__ = "hand_items"
        pk: Mapped[int] = mapped_column(primary_key=True)
        created_at: Mapped[datetime]
        updated_at: Mapped[datetime]
        tenant_id: Mapped[str]
        name: Mapped[str]
        price: Mapped[int]
        note: Mapped[str]
        version: Mapped[int]

    class Read(msgspec.Struct):
        pk: int
        created_at: datetime
        updated_at: datetime
        name: str
        price: int
        note: str
        version: int

    class RowService(service.SQLAlchemyAsyncRepositoryService[Row]):
        class Repo(repository.SQLAlchemyAsyncRepository[Row]):
            model_type = Row
            id_attribute = "pk"

        repository_type = Repo

    class Rows(Controller):
        path = "/items"
        dependencies = providers.create_service_dependencies(
            RowService, "rows", filters={"pagination_type": "limit_offset"}
        )

        @get()
        async def many(
            self,
            rows: RowService,
            filters: Annotated[list[filters.FilterTypes], Dependency(skip_validation=True)],
        ) -> service.OffsetPagination[Read]:
            wanted = (Row.tenant_id == "acme", Row.price >= 0, Row.name.like("item%"))
            results, total = await rows.list_and_count(*filters, *wanted)
            return rows.to_schema(results, total, filters=filters, schema_type=Read)

        @get("/{pk:int}")
        async def one(self, rows: RowService, pk: int) -> Read:
            return rows.to_schema(await rows.get(pk), schema_type=Read)

    url = f"sqlite+aiosqlite:///{os.environ['BENCH_HOME']}/items.sqlite"
    return Litestar(
        [Rows], plugins=[SQLAlchemyPlugin(SQLAlchemyAsyncConfig(connection_string=url))]
    )


def called() -> Any:
    """The same service, called from routes written by hand that check nothing."""
    from fastapi import FastAPI

    items = Items(store(), GrantBasedAuthorizer())
    ctx = AuthContext("ann", grants=(ResourceGrant("items", frozenset(Action)),))
    read: Any = AutoAssembler(Item).read_cls
    parser = QueryParser(HttpResource(Items, "/items").spec.reader.schema)
    app = FastAPI()

    @app.get("/items/{pk}", response_model=read)
    async def one(pk: int) -> Any:
        with tenant_context("acme"):
            return await items.get(pk, ctx)

    @app.get("/items", response_model=PagedReadDTO[read])
    async def many(limit: int, sort: str, filter: str) -> Any:  # noqa: A002
        with tenant_context("acme"):
            params = parser.parse(filter, sort=sort, limit=limit)
            return await items.paged_list(params, ctx)

    return app


async def fill() -> None:
    provider = store()
    await provider.create_tables()
    with tenant_context("acme"):
        async with provider.make_uow() as uow:
            await uow.repository(Item).save_many(
                [
                    Item(tenant_id="acme", name=f"item {n}", price=n, note="some text " * 5)
                    for n in range(ROWS)
                ]
            )
    async with provider.engine.begin() as connection:
        for statement in HAND:
            await connection.execute(sa.text(statement))
    await provider.engine.dispose()


class Measured(NamedTuple):
    """What one run of wrk found."""

    rate: float
    cpu: float


def cpu_of(process: subprocess.Popen[bytes]) -> float:
    """The seconds of CPU that a process has used, its threads' included."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(contender: str, path: str, token: str, port: int, seconds: int) -> Measured:
    command = [sys.executable, "-m", "uvicorn", f"edge:{contender}", "--factory", "--no-access-log"]
    server = subprocess.Popen(
        ["taskset", "-c", "0", *command, "--port", str(port), "--log-level", "warning"],
        cwd=HERE.parent,
    )
    url = f"http://127.0.0.1:{port}{path}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    try:
        for _ in range(2_400):
            try:
                body = urllib.request.urlopen(request).read()
                break
            except OSError:
                time.sleep(0.05)
        else:
            raise SystemExit(f"{contender} does not answer")
        assert body.count(b'"pk":') in {1, 100}, body[:200]
        load = ["taskset", "-c", "1", "wrk", "-t1", "-c16"]
        headers = ["-H", f"Authorization: Bearer {token}"]
        subprocess.run([*load, "-d1s", *headers, url], capture_output=True, check=True)
        before = cpu_of(server)
        told = subprocess.run(
            [*load, f"-d{seconds}s", *headers, url], capture_output=True, text=True, check=True
        ).stdout
        used = cpu_of(server) - before
        assert "Non-2xx" not in told, told
        rate = re.search(r"Requests/sec:\s+([\d.]+)", told)
        count = re.search(r"(\d+) requests in", told)
        assert rate, told
        assert count, told
        return Measured(float(rate[1]), used / int(count[1]))
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["BENCH_HOME"] = home
        from cryptography.hazmat.primitives import serialization as form
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        private = Ed25519PrivateKey.generate()
        pem = private.private_bytes(
            form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()
        )
        Path(home, "key.pem").write_bytes(pem)
        asyncio.run(fill())
        ctx = AuthContext("ann", grants=(ResourceGrant("items", frozenset(Action)),))
        token = authority().token().with_auth_ctx(ctx).claim("tenant", "acme").expires_in(9_000)
        for name, path in (("one row", "/items/7"), ("a list of 100", f"/items?{FILTER}")):
            found: dict[str, list[Measured]] = {}
            for number in range(given.rounds):
                for contender in CONTENDERS:
                    asked = path.replace(FILTER, PAGES.get(contender, FILTER))
                    got = measure(contender, asked, token.build(), 8_300 + number, given.seconds)
                    found.setdefault(contender, []).append(got)
            for contender, runs in found.items():
                rate, cpu = (statistics.median(each) for each in zip(*runs, strict=True))
                ratios = [
                    statistics.median(b.cpu / a.cpu for a, b in zip(runs, found[to], strict=True))
                    for to in ("by_hand", "called")
                ]
                print(
                    f"{name}: {contender:15} {rate:7.0f}/s {cpu * 1e6:6.0f} us of CPU"
                    f" {ratios[0]:.2f}x by hand {ratios[1]:.2f}x called"
                )


if __name__ == "__main__":
    main()
