"""The OpenAPI document is valid, and says what the resources do."""

import json
from decimal import Decimal
from enum import StrEnum
from typing import Literal

import pytest

from varco_domain.dto import CreateDTO, ReadDTO, UpdateDTO
from varco_domain.model import VersionedDomainModel
from varco_domain.service import AsyncService
from varco_http import HttpResource, Verb, extend_openapi, openapi_document
from varco_http.testing._document import check_document
from varco_query import QueryParser


class State(StrEnum):
    OPEN = "open"
    CLOSED = "closed"


class Part(VersionedDomainModel):
    name: str
    price: Decimal | None
    state: State = State.OPEN
    size: Literal[1, 2, 3] = 1
    hot: bool = False


class Parts(AsyncService[Part, int, CreateDTO, ReadDTO, UpdateDTO]):
    pass


BEARER = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}


def document(client, **options):
    resources = {id(each.spec): each for each in client.resources}.values()
    return openapi_document(resources, title="Tracker", version="1", **options)


def test_the_document_is_valid(client):
    found = json.loads(json.dumps(document(client, schemes=BEARER)))
    check_document(found)
    assert found["openapi"].startswith("3.1")
    operation = found["paths"]["/projects/{project_id}/tickets/{pk}"]["patch"]
    assert operation["security"] == [{"bearer": []}]
    assert set(operation["responses"]) == {
        *("200", "400", "401", "403", "404", "409", "412", "413", "415", "422", "500", "503")
    }
    assert "ETag" in operation["responses"]["200"]["headers"]
    assert "Link" in found["paths"]["/projects"]["get"]["responses"]["200"]["headers"]
    assert {each["name"] for each in operation["parameters"]} == {
        *("project_id", "pk", "If-Match", "Idempotency-Key")
    }
    assert "project_id" not in found["components"]["schemas"]["UpdateTicketPatch"]["properties"]
    assert "project_id" not in found["components"]["schemas"]["CreateTicketIn"]["properties"]


def test_a_method_that_openapi_does_not_know_is_not_in_it(client):
    methods = {method for path in document(client)["paths"].values() for method in path}
    assert methods == {"get", "post", "put", "patch", "delete"}


def test_it_joins_the_document_of_a_framework(client):
    framework = {
        "openapi": "3.1.0",
        "info": {"title": "a", "version": "1"},
        "paths": {"/own": {"get": {"responses": {"200": {"description": "ok"}}}}},
        "components": {"schemas": {"Own": {"type": "string"}}},
    }
    found = extend_openapi(framework, client.resources)
    assert "/own" in found["paths"]
    assert "Own" in found["components"]["schemas"]
    check_document(found)


@pytest.mark.parametrize("sparse", [True, False])
def test_examples_run(sparse):
    resource = HttpResource(Parts, "/parts", sparse=sparse)
    found = openapi_document([resource], title="Parts", version="1")
    check_document(found)
    parameters = {each["name"]: each for each in found["paths"]["/parts"]["get"]["parameters"]}
    assert ("fields" in parameters) is sparse
    parser = QueryParser(resource.spec.reader.schema)
    filters = parameters["filter"]["examples"]
    sorts = parameters["sort"]["examples"]
    assert len(filters) > 2
    assert sorts
    for example in filters:
        parser.parse(example)
    for example in sorts:
        parser.parse(sort=example)
    assert "one of 'open', 'closed'" in parameters["filter"]["description"]


def test_what_is_left_out_is_not_there():
    resource = HttpResource(
        Parts, "/parts", without={Verb.DELETE, Verb.LIST}, require_if_match=True
    )
    found = openapi_document([resource], title="Parts", version="1")
    assert set(found["paths"]["/parts"]) == {"post"}
    assert "delete" not in found["paths"]["/parts/{pk}"]
    assert "428" in found["paths"]["/parts/{pk}"]["patch"]["responses"]


def test_operations_of_a_resource_in_two_places_have_two_names():
    resource = HttpResource(Parts, "/parts")
    found = {"openapi": "3.1.0", "info": {"title": "t", "version": "1"}}
    for prefix in ("", "/old", "/older", "/old"):
        extend_openapi(found, [resource], prefix=prefix)
    check_document(found)
    names = [found["paths"][f"{p}/parts"]["get"]["operationId"] for p in ("", "/old", "/older")]
    assert names == ["list_parts", "list_parts2", "list_parts3"]
