"""A tracker of two resources, and a client without a network."""

from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI

from varco_domain import (
    Action,
    AsyncService,
    AuthContext,
    CreateDTO,
    GrantBasedAuthorizer,
    InMemoryRepositoryProvider,
    ReadDTO,
    ResourceGrant,
    TenantAwareService,
    TenantVersionedDomainModel,
    UpdateDTO,
)
from varco_fastapi import install, lifespan
from varco_http import ApiKeys, Caller, Callers, HttpApplication


class Project(TenantVersionedDomainModel):
    name: str


class Projects(TenantAwareService, AsyncService[Project, int, CreateDTO, ReadDTO, UpdateDTO]):
    pass


GRANTS = (ResourceGrant("projects", frozenset(Action)),)
KEYS = {
    "ann": Caller(AuthContext("ann", grants=GRANTS), "acme"),
    "bob": Caller(AuthContext("bob", grants=GRANTS), "other"),
}


@asynccontextmanager
async def store(application):
    application.add(Projects(InMemoryRepositoryProvider(Project), GrantBasedAuthorizer()))
    yield


async def find(key):
    return KEYS.get(key)


class Served:
    """An application with what is installed in it, and its clients."""

    Project = Project
    Projects = Projects
    GRANTS = GRANTS

    def __init__(self, **options):
        self.application = HttpApplication(Callers(ApiKeys(find)))
        self.app = FastAPI(title="tracker", lifespan=lifespan(self.application, store))
        install(self.app, self.application, **options)

    @asynccontextmanager
    async def client(self, key="ann"):
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        headers = {} if key is None else {"X-API-Key": key}
        async with (
            self.app.router.lifespan_context(self.app),
            httpx.AsyncClient(
                transport=transport, base_url="http://test", headers=headers
            ) as client,
        ):
            yield client


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def served():
    return Served()


another = served
