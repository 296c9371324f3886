"""What an application gets as a whole, and what stays FastAPI's."""

import re
from typing import Annotated

import pytest
from fastapi import APIRouter, Depends, HTTPException, Request
from pydantic import BaseModel

from varco_domain import (
    AuthContext,
    GrantBasedAuthorizer,
    InMemoryRepositoryProvider,
    ServiceNotFoundError,
)
from varco_fastapi import CallerOf, current_caller, make_app, resource, service_of
from varco_http import Caller, HttpConfigError, HttpResource, Verb, current_request_id

pytestmark = pytest.mark.anyio
PROBLEM = "application/problem+json"


def problem(response):
    assert response.headers["content-type"] == PROBLEM
    body = response.json()
    assert body["status"] == response.status_code
    return body


async def test_the_answers_of_the_framework_are_problems(served, caplog):
    class Sized(BaseModel):
        size: int

    @served.app.post("/sizes/{number}")
    async def sizes(number: int, sized: Sized) -> None: ...

    @served.app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418, "short and stout", headers={"X-Handle": "here"})

    @served.app.get("/broken")
    async def broken() -> None:
        raise ZeroDivisionError("the password is 1234")

    async with served.client() as client:
        assert problem(await client.get("/nowhere"))["code"] == "http.not_found"
        refused = await client.delete("/teapot")
        assert problem(refused)["code"] == "http.method_not_allowed"
        assert refused.headers["allow"] == "GET, OPTIONS"
        served.app.mount("/inner", served.app)
        inner = await client.put("/inner/sizes/1")
        assert (inner.status_code, inner.headers["allow"]) == (405, "OPTIONS, POST")
        tea = await client.get("/teapot")
        assert (problem(tea)["detail"], tea.headers["x-handle"]) == ("short and stout", "here")
        wrong = problem(await client.post("/sizes/x", json={"size": "large"}))
        assert {each.get("pointer") or each.get("parameter") for each in wrong["errors"]} == {
            "number",
            "/size",
        }
        large = await client.post("/sizes/1", content=b"x" * 2_000_000)
        assert problem(large)["code"] == "http.body_too_large"
        fault = await client.get("/broken")
        assert fault.status_code == 500
        assert "1234" not in fault.text + str(problem(fault))
    assert "the password is 1234" in caplog.text  # where the operator looks


async def test_every_answer_has_the_id_of_its_request(served):
    seen = []

    @served.app.get("/id")
    async def id_() -> None:
        seen.append(current_request_id())

    async with served.client() as client:
        given = await client.get("/id", headers={"X-Request-ID": "abc-1"})
        assert (given.headers["x-request-id"], seen[0]) == ("abc-1", "abc-1")
        for bad in ("a b", "x" * 129, "ä"):
            headers = {"X-Request-ID": bad.encode("utf-8")}
            made = (await client.get("/nowhere", headers=headers)).headers["x-request-id"]
            assert re.fullmatch(r"[0-9a-f]{32}", made)


async def test_the_correlation_id_of_events_is_that_of_the_request(served):
    events = pytest.importorskip("varco_events")
    seen = []

    @served.app.get("/id")
    async def id_() -> None:
        seen.append(events.current_correlation_id())

    async with served.client() as client:
        await client.get("/id", headers={"X-Request-ID": "r1"})
        await client.get("/id", headers={"X-Request-ID": "r2", "X-Correlation-ID": "c2"})
    assert seen == ["r1", "c2"]


async def test_routes_by_hand_have_the_caller_the_tenant_and_the_service(served):
    served.app.include_router(resource(served.Projects, "/projects"))

    @served.app.get("/first")
    async def first(
        ctx: CallerOf, projects: Annotated[served.Projects, Depends(service_of(served.Projects))]
    ) -> str:
        return f"{ctx.user_id}: {(await projects.get(1, ctx)).name}"

    async with served.client() as client:
        assert problem(await client.get("/first"))["code"] == "FASTREST_001"
        await client.post("/projects", json={"name": "x"})
        assert (await client.get("/first")).json() == "ann: x"
        other = await client.get("/first", headers={"X-API-Key": "bob"})
        assert other.status_code == 404
        nobody = await client.get("/first", headers={"X-API-Key": "nobody"})
        assert (nobody.status_code, problem(nobody)["code"]) == (401, "http.unauthenticated")


async def test_a_dependency_may_be_overridden_and_guards_are_dependencies(served):
    async def guard(request: Request):
        if request.headers.get("x-guard") != "open":
            raise ServiceNotFoundError(1, object)

    served.app.include_router(resource(served.Projects, "/projects", dependencies=[Depends(guard)]))
    served.app.dependency_overrides[current_caller] = lambda: Caller(
        AuthContext("root", grants=served.GRANTS), "acme"
    )
    async with served.client(key=None) as client:
        assert (await client.get("/projects")).status_code == 404
        found = await client.get("/projects", headers={"x-guard": "open"})
        assert found.json()["results"] == []


async def closed():
    raise HTTPException(418)


@pytest.mark.parametrize("level", ["application", "outer", "inner", "resource"])
async def test_a_guard_holds_at_whatever_level_it_stands(served, level):
    guards = {each: [] for each in ("application", "outer", "inner", "resource")}
    guards[level] = [Depends(closed)]
    served.app.router.dependencies += guards["application"]
    inner = APIRouter(prefix="/v1", dependencies=guards["inner"])
    inner.include_router(
        resource(served.Projects, "/projects", dependencies=guards["resource"]),
    )
    served.app.include_router(inner, dependencies=guards["outer"])
    async with served.client() as client:
        for _ in range(2):
            assert (await client.get("/v1/projects")).status_code == 418
            assert (await client.head("/v1/projects")).status_code == 418


async def test_a_guard_holds_where_a_router_is_included_anew_while_requests_come(served):
    router = resource(served.Projects, "/projects")
    served.app.include_router(router)
    async with served.client() as client:
        assert (await client.get("/projects")).status_code == 200
        served.app.include_router(router, prefix="/guarded", dependencies=[Depends(closed)])
        assert (await client.get("/guarded/projects")).status_code == 418
        assert (await client.get("/projects")).status_code == 200


async def test_who_calls_may_be_replaced_while_requests_come(served):
    served.app.include_router(resource(served.Projects, "/projects"))

    async def told(name: str) -> Caller:
        return Caller(AuthContext(name, grants=served.GRANTS), "acme")

    async with served.client(key=None) as client:
        assert (await client.get("/projects")).status_code == 401
        served.app.dependency_overrides[current_caller] = told
        missing = problem(await client.post("/projects", json={"name": "x"}))
        assert [each["parameter"] for each in missing["errors"]] == ["name"]
        served.app.dependency_overrides.clear()
        assert (await client.get("/projects")).status_code == 401


async def test_the_document_follows_the_routers(served):
    inner = APIRouter(prefix="/v1")
    projects = HttpResource(served.Projects, "/projects", without={Verb.DELETE})
    router = resource(projects)

    @router.delete("/projects/{pk}")
    async def remove(pk: int, ctx: CallerOf) -> dict[str, str]:
        return {"removed": f"{pk} by {ctx.user_id}"}

    inner.include_router(router)
    served.app.include_router(inner, prefix="/api")
    async with served.client() as client:
        document = (await client.get("/openapi.json")).json()
        place = document["paths"]["/api/v1/projects/{pk}"]
        assert place["patch"]["operationId"] == "patch_projects"
        assert place["patch"]["security"] == [{"apiKey": []}]
        assert PROBLEM in place["delete"]["responses"]["422"]["content"]
        assert "HTTPValidationError" not in str(document)
        assert "x-varco" not in str(document)
        assert "ETag" in place["get"]["responses"]["200"]["headers"]
        assert "query" not in document["paths"]["/api/v1/projects"]
        await client.post("/api/v1/projects", json={"name": "x"})
        found = await client.request("QUERY", "/api/v1/projects", json={"filter": "name = 'x'"})
        assert [each["name"] for each in found.json()["results"]] == ["x"]
        assert (await client.delete("/api/v1/projects/7")).json() == {"removed": "7 by ann"}


async def test_schemas_of_one_name_are_told_apart(served):
    def projects(kind):
        class ProjectRead(BaseModel):
            pk: int
            note: kind

        return HttpResource(
            served.Projects,
            f"/{kind.__name__}",
            name=kind.__name__,
            read=ProjectRead,
            verbs={Verb.GET},
        )

    for kind in (str, float):
        served.app.include_router(resource(projects(kind)))
    document = served.app.openapi()
    shown = {
        path: document["paths"][f"/{path}/{{pk}}"]["get"]["responses"]["200"]["content"]
        for path in ("str", "float")
    }
    names = {path: re.findall(r"schemas/(\w+)", str(each)) for path, each in shown.items()}
    notes = {
        path: document["components"]["schemas"][each[0]]["properties"]["note"]["type"]
        for path, each in names.items()
    }
    assert notes == {"str": "string", "float": "number"}


async def test_two_applications_share_nothing(served, another):
    served.app.include_router(resource(served.Projects, "/projects"))
    another.app.include_router(resource(served.Projects, "/projects"))
    async with served.client() as client, another.client() as other:
        await client.post("/projects", json={"name": "x"})
        assert (await other.get("/projects")).json()["results"] == []


async def test_health_is_where_it_is_asked_for(served):
    async def check():
        return False

    served.application.health.register("mailer", check)
    async with served.client(key=None) as client:
        assert (await client.get("/health/live")).status_code == 200
        failed = await client.get("/health/ready")
        assert (failed.status_code, failed.json()["parts"]) == (503, {"mailer": "failed"})


async def test_a_service_that_nobody_added_is_told_to_the_operator(served, caplog):
    class Others(served.Projects):
        pass

    served.app.include_router(resource(Others, "/others"))
    async with served.client() as client:
        assert problem(await client.get("/others"))["status"] == 500
    assert "no Others was added" in caplog.text
    with pytest.raises(HttpConfigError):
        served.application.add(object(), as_=Others)


def test_options_belong_to_the_resource(served):
    with pytest.raises(TypeError, match="made already"):
        resource(HttpResource(served.Projects, "/projects"), "/elsewhere")


async def hello(scope, receive, send):
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    where = f"{scope['root_path']} {scope['path']}"
    await send({"type": "http.response.body", "body": where.encode()})


async def test_an_application_is_made_of_resources_and_what_is_mounted(served):
    app = make_app(
        served.application,
        [HttpResource(served.Projects, "/projects")],
        mounts={"/ops": hello},
        health_prefix="/up",
        title="Made",
    )
    served.app = app
    served.application.add(
        served.Projects(InMemoryRepositoryProvider(served.Project), GrantBasedAuthorizer())
    )
    async with served.client() as client:
        assert (await client.get("/projects")).status_code == 200
        assert (await client.get("/up/live")).status_code == 200
        assert (await client.get("/ops/x")).text == "/ops /ops/x"
        # Not sent to an absolute URL: a proxy's would be another one.
        assert (await client.get("/ops")).text == "/ops /ops"
        assert (await client.get("/openapi.json")).json()["info"]["title"] == "Made"
