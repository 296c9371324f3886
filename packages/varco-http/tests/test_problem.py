"""One document for every error, with nothing of the inside in it."""

import json
import math

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from varco_domain.exception import (
    ServiceValidationError,
    StorageUnavailableError,
    UniqueViolationError,
)
from varco_domain.service import TenantRequiredError
from varco_domain.validation import ValidationError as Broken
from varco_http import (
    HttpResource,
    body_fault,
    pointer_of,
    problem_of,
    problem_response,
    status_response,
)

pytestmark = pytest.mark.anyio


class Inner(BaseModel):
    number: int


class Outer(BaseModel):
    inner: Inner


def test_a_pointer_is_escaped():
    assert pointer_of(["a/b", 0, "m~n", ""]) == "/a~1b/0/m~0n/"
    assert pointer_of([]) == ""


def test_an_unknown_error_tells_nothing():
    problem = problem_of(ZeroDivisionError("secret"), instance="/a")
    assert problem == {
        "type": "urn:varco:error:FASTREST_500",
        "title": "Internal error",
        "status": 500,
        "code": "FASTREST_500",
        "instance": "/a",
    }


def test_rules_point_to_the_fields():
    errors = [Broken("is odd", "count"), Broken("all wrong"), Broken("is odd", "count", 3)]
    problem = problem_of(ServiceValidationError("x", errors=errors))
    assert problem["errors"] == [
        {"message": "is odd", "pointer": "/count"},
        {"message": "all wrong"},
        {"message": "is odd", "pointer": "/3/count"},
    ]


@pytest.mark.parametrize(
    ("kind", "body", "pointers"),
    [
        (int | list[int], b'"x"', {""}),
        (dict[str, int | list[int]], b'{"a": "x", "b": [1, "y"]}', {"/a", "/b", "/b/1"}),
        (list[Inner | Outer], b'[{"inner": {}}]', {"/0/inner/number", "/0/number"}),
        (dict[int, int], b'{"x": 1, "2": "y"}', {"/x", "/2"}),
    ],
)
def test_a_pointer_leads_to_a_place_in_the_body(kind, body, pointers):
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_json(body)
    given = json.loads(body)
    assert {body_fault(each, given).pointer for each in caught.value.errors()} == pointers


def test_of_a_field_that_no_body_has_nothing_is_told():
    error = UniqueViolationError(Inner, ("tenant_id", "key"))
    faults = [{"message": "is taken", "pointer": "/key"}]
    assert problem_of(error, fields={"key"})["errors"] == faults
    assert "errors" not in problem_of(error, fields=())


def test_what_pydantic_says_of_something_inside_is_no_fault_of_who_calls():
    class Card(BaseModel):
        number: int

    with pytest.raises(ValidationError) as caught:
        Card.model_validate({"number": "4111-secret"})
    answer = problem_response(caught.value)
    assert (answer.status, json.loads(answer.body)["code"]) == (500, "FASTREST_500")
    assert b"number" not in answer.body


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (None, "1"),
        (0.0, "1"),
        (2.1, "3"),
        (math.inf, "3600"),
        (math.nan, "1"),
        ("x", "1"),
        (-1, "1"),
    ],
)
def test_an_outage_says_when_to_come_back(asked, told):
    error = StorageUnavailableError("db.inside:5432 refused")
    error.retry_after = asked
    answer = problem_response(error)
    assert (answer.status, answer.header("retry-after")) == (503, told)
    assert b"inside" not in answer.body


def test_a_missing_tenant_is_told_to_who_calls_and_not_to_who_programs():
    assert problem_of(TenantRequiredError())["detail"] == "the request belongs to no tenant"


def test_long_texts_are_cut():
    assert len(problem_of(ServiceValidationError("x" * 10_000))["detail"]) < 1_100


@pytest.mark.parametrize(
    "status", [400, 401, 403, 404, 405, 406, 413, 415, 418, 422, 429, 500, 503]
)
def test_a_status_of_a_framework_is_a_problem_too(status):
    headers = [("Allow", "GET"), ("Content-Type", "text/plain"), ("Content-Length", "3")]
    answer = status_response(status, instance="/x", detail="why", headers=headers)
    body = json.loads(answer.body)
    assert (answer.status, body["status"], body["instance"]) == (status, status, "/x")
    assert body["code"]
    assert body.get("detail") == ("why" if status < 500 else None)
    assert answer.header("allow") == "GET"
    assert [v for n, v in answer.headers if n == "content-type"] == ["application/problem+json"]
    assert answer.header("content-length") is None
    assert (answer.header("www-authenticate") is not None) == (status == 401)
    assert "detail" not in json.loads(status_response(404).body)


async def test_what_nobody_outside_can_mend_is_raised_and_an_outage_is_answered(tracker, store):
    class Broken(tracker.Projects):
        error = ZeroDivisionError("secret")

        async def get(self, pk, ctx):
            raise self.error

    service = Broken(store, tracker.Everything())
    client = tracker.Client({Broken: service}, HttpResource(Broken, "/projects"))
    with pytest.raises(ZeroDivisionError):
        await client("GET", "/projects/1")
    service.error = StorageUnavailableError("down")
    answer = await client("GET", "/projects/1")
    assert (answer.status, answer.header("retry-after")) == (503, "1")
