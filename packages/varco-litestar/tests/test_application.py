"""What an application gets as a whole, and what stays Litestar's."""

import logging
from contextlib import asynccontextmanager

import httpx
import pytest
from litestar import Litestar, Request, Response, Router, get, post
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException, PermissionDeniedException
from litestar.openapi import OpenAPIConfig
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.plugins.problem_details import ProblemDetailsException
from pydantic import BaseModel

from varco_domain import (
    Action,
    AsyncService,
    AuthContext,
    CreateDTO,
    GrantBasedAuthorizer,
    InMemoryRepositoryProvider,
    ReadDTO,
    ResourceGrant,
    ServiceNotFoundError,
    TenantAwareService,
    TenantVersionedDomainModel,
    UpdateDTO,
)
from varco_http import (
    ApiKeys,
    Caller,
    Callers,
    HttpApplication,
    HttpConfigError,
    HttpResource,
    Verb,
    current_request_id,
)
from varco_litestar import RequireCaller, VarcoPlugin, current_caller, resource, service_of

pytestmark = pytest.mark.anyio
PROBLEM = "application/problem+json"


class Project(TenantVersionedDomainModel):
    name: str


class Projects(
    TenantAwareService[Project, int, CreateDTO, ReadDTO, UpdateDTO],
    AsyncService[Project, int, CreateDTO, ReadDTO, UpdateDTO],
):
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
    """An application to be, and its clients."""

    def __init__(self):
        self.application = HttpApplication(Callers(ApiKeys(find)))

    def app(self, *handlers, plugin=None, below="/", **options):
        plugin = plugin or VarcoPlugin(self.application, parts=[store])
        return Litestar(
            [Router(below, route_handlers=handlers)],
            plugins=[plugin],
            logging_config=None,
            **options,
        )

    @asynccontextmanager
    async def client(self, *handlers, key="ann", root_path="", **options):
        app = self.app(*handlers, **options)
        transport = httpx.ASGITransport(app, root_path=root_path)
        headers = {} if key is None else {"X-API-Key": key}
        client = httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers)
        async with app.lifespan(), client:
            yield client


@pytest.fixture
def served():
    return Served()


another = served


class Part(BaseModel):
    size: int


class Sized(BaseModel):
    size: int
    parts: list[Part] = []


def problem(response):
    assert response.headers["content-type"].partition(";")[0] == PROBLEM
    body = response.json()
    assert body["status"] == response.status_code
    assert {"code", "type", "title", "instance"} <= set(body)
    return body


async def test_the_answers_of_the_framework_are_problems(served, caplog):
    @post("/sizes/{number:int}")
    async def sizes(
        number: FromPath[int], data: JSONBody[Sized], wide: FromQuery[bool]
    ) -> None: ...

    @get("/teapot")
    async def teapot() -> None:
        raise HTTPException("short and stout", status_code=418, headers={"X-Handle": "here"})

    @get("/broken")
    async def broken() -> None:
        raise ZeroDivisionError("the password is 1234")

    @get("/lost")
    async def lost() -> None:
        raise ServiceNotFoundError(1, object)

    @get("/described")
    async def described() -> None:
        raise ProblemDetailsException(
            "no credit", status_code=402, type_="urn:credit", extra={"balance": 3}
        )

    async with served.client(sizes, teapot, broken, lost, described) as client:
        tea = await client.get("/teapot")
        assert (problem(tea)["detail"], tea.headers["x-handle"]) == ("short and stout", "here")
        for query, body, named in (
            ("wide=perhaps", {"size": 1}, {"wide"}),
            ("wide=true", {"size": "large"}, {"/size"}),
            ("wide=true", {"size": 1, "parts": [{"size": "x"}]}, {"/parts/0/size"}),
        ):
            wrong = await client.post(f"/sizes/3?{query}", json=body)
            errors = problem(wrong)["errors"]
            assert wrong.status_code == 400
            assert {each.get("pointer") or each.get("parameter") for each in errors} == named
        large = await client.post("/sizes/1?wide=true", content=b"x" * 2_000_000)
        assert problem(large)["code"] == "http.body_too_large"
        assert problem(await client.get("/lost"))["code"] == "FASTREST_001"
        credit = problem(await client.get("/described"))
        assert (credit["type"], credit["balance"], credit["code"]) == (
            "urn:credit",
            3,
            "http.402",
        )
        with caplog.at_level(logging.ERROR):
            fault = await client.get("/broken")
        assert fault.status_code == 500
        assert "1234" not in fault.text + str(problem(fault))
    assert "the password is 1234" in caplog.text  # where the operator looks


async def test_an_exception_handler_of_ones_own_comes_first(served):
    @get("/broken")
    async def broken() -> None:
        raise ZeroDivisionError

    def own(request: Request, error: Exception) -> Response:
        return Response("mine", status_code=500)

    async with served.client(broken, exception_handlers={ZeroDivisionError: own}) as client:
        assert (await client.get("/broken")).text == "mine"


async def test_handlers_by_hand_have_the_caller_the_tenant_and_the_service(served):
    seen = []

    @get("/first", middleware=[RequireCaller()], dependencies={"projects": service_of(Projects)})
    async def first(
        request: Request, caller: NamedDependency[Caller], projects: NamedDependency[Projects]
    ) -> str:
        seen.append((request.user, request.auth, current_request_id()))
        return f"{caller.ctx.user_id}: {(await projects.get(1, caller.ctx)).name}"

    async with served.client(resource(Projects, "/projects"), first) as client:
        assert problem(await client.get("/first"))["code"] == "FASTREST_001"
        await client.post("/projects", json={"name": "x"})
        found = await client.get("/first", headers={"X-Request-ID": "r1"})
        assert found.text == "ann: x"
        assert seen[-1][0].user_id == "ann"
        assert (seen[-1][1].tenant, seen[-1][2]) == ("acme", "r1")
        assert (await client.get("/first", headers={"X-API-Key": "bob"})).status_code == 404
        nobody = await client.get("/first", headers={"X-API-Key": "nobody"})
        assert (nobody.status_code, problem(nobody)["code"]) == (401, "http.unauthenticated")


async def test_without_the_middleware_a_handler_is_of_no_tenant(served):
    @get("/first", dependencies={"projects": service_of(Projects)})
    async def first(caller: NamedDependency[Caller], projects: NamedDependency[Projects]) -> str:
        return str(await projects.get(1, caller.ctx))

    async with served.client(first) as client:
        assert problem(await client.get("/first"))["detail"] == "the request belongs to no tenant"


async def test_guards_and_middleware_are_those_of_litestar(served):
    async def only_ann(connection, handler) -> None:
        if (await current_caller(connection.scope)).ctx.user_id != "ann":
            raise PermissionDeniedException("only ann")

    router = resource(Projects, "/projects", guards=[only_ann], middleware=[RequireCaller()])
    async with served.client(router) as client:
        assert (await client.get("/projects")).status_code == 200
        bob = await client.get("/projects", headers={"X-API-Key": "bob"})
        assert (bob.status_code, problem(bob)["detail"]) == (403, "only ann")
        nobody = await client.get("/projects", headers={"X-API-Key": "x"})
        assert nobody.status_code == 401


async def test_the_document_follows_the_routers(served):
    projects = HttpResource(Projects, "/projects", without={Verb.DELETE})

    @post("/{pk:int}/shout")
    async def shout(pk: FromPath[int]) -> dict[str, str]:
        return {}

    handlers = Router("/v1", route_handlers=[resource(projects), shout])
    async with served.client(handlers, below="/api") as client:
        document = (await client.get("/openapi.json")).json()
        assert document == (await client.get("/schema/openapi.json")).json()
        place = document["paths"]["/api/v1/projects/{pk}"]
        assert place["patch"]["operationId"] == "patch_projects"
        assert place["patch"]["security"] == [{"apiKey": []}]
        assert "delete" not in place
        assert "ETag" in place["get"]["responses"]["200"]["headers"]
        assert "query" not in document["paths"]["/api/v1/projects"]
        refused = document["paths"]["/api/v1/{pk}/shout"]["post"]["responses"]["400"]
        assert set(refused["content"]) == {PROBLEM}
        made = await client.post("/api/v1/projects", json={"name": "x"})
        assert made.headers["location"] == "/api/v1/projects/1"
        assert (await client.get(made.headers["location"])).json()["name"] == "x"


async def test_pages_of_documentation_are_there_and_others_are_missing(served):
    async with served.client(resource(Projects, "/projects"), key=None) as client:
        assert (await client.get("/schema")).status_code == 200
        assert problem(await client.get("/schema/nothing"))["code"] == "http.not_found"


async def test_an_application_may_describe_itself_or_not_at_all(served):
    config = OpenAPIConfig("Tracker", "2", path="/docs")
    router = resource(Projects, "/projects")
    app = served.app(router, openapi_config=config)
    assert app.openapi_schema.to_schema()["info"] == {"title": "Tracker", "version": "2"}
    assert "/projects" in app.openapi_schema.to_schema()["paths"]
    assert "paths" not in vars(config)
    async with served.client(resource(Projects, "/projects"), openapi_config=None) as client:
        assert problem(await client.get("/openapi.json"))["status"] == 404


async def test_links_hold_below_another_path(served):
    async with served.client(resource(Projects, "/projects"), root_path="/behind") as client:
        made = await client.post("/behind/projects", json={"name": "x"})
        assert made.headers["location"] == "/behind/projects/1"
        assert problem(await client.get("/behind/projects/2"))["instance"] == "/behind/projects/2"


async def test_two_applications_share_nothing(served, another):
    plugin = VarcoPlugin(another.application)
    async with (
        served.client(resource(Projects, "/projects")) as client,
        another.client(resource(Projects, "/others"), plugin=plugin) as other,
    ):
        await client.post("/projects", json={"name": "x"})
        paths = (await other.get("/openapi.json")).json()["paths"]
        assert "/others" in paths
        assert "/projects" not in paths


async def test_health_and_the_limit_of_bodies_are_as_asked_for(served):
    async with served.client(
        resource(Projects, "/projects"),
        plugin=VarcoPlugin(served.application, health_prefix=None, max_body=10),
    ) as client:
        assert (await client.get("/health/live")).status_code == 404
        large = await client.post("/projects", json={"name": "longer than ten"})
        assert problem(large)["code"] == "http.body_too_large"


async def test_a_service_that_nobody_added_is_told_to_the_operator(served, caplog):
    class Others(Projects):
        pass

    async with served.client(resource(Others, "/others")) as client:
        assert problem(await client.get("/others"))["status"] == 500
    assert "no Others was added" in caplog.text
    with pytest.raises(HttpConfigError):
        served.application.add(object(), as_=Others)


def test_options_belong_to_the_resource():
    with pytest.raises(TypeError, match="made already"):
        resource(HttpResource(Projects, "/projects"), "/elsewhere")
