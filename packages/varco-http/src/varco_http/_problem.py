"""Problem details (RFC 9457): one document for every error."""

import json
from collections.abc import Container, Iterable, Mapping, Sequence
from math import ceil
from typing import Any, Final, cast

from pydantic import ValidationError
from pydantic_core import from_json

from varco_domain.exception import (
    PROBLEM_MEDIA_TYPE,
    FastrestErrorCodes,
    error_code_for,
    problem_for,
)
from varco_http._errors import Fault, InvalidBodyError, InvalidRequestError
from varco_http._message import HttpResponse, path_text

_SERVER: Final = 500
_UNAVAILABLE: Final = 503
_UNAUTHENTICATED: Final = 401
_LONGEST: Final = 1_000
_CONTENT_TYPE: Final = ("content-type", PROBLEM_MEDIA_TYPE)
_RETRY_AFTER: Final = 1
_MOST_SECONDS: Final = 3_600
# The texts of these are for who writes the service, not for who calls it.
_DETAILS: Final = {
    FastrestErrorCodes.TENANT_REQUIRED.code: "the request belongs to no tenant",
}
_STATUS_CODES: Final = {
    400: "http.invalid_request",
    401: "http.unauthenticated",
    403: "http.forbidden",
    404: "http.not_found",
    405: "http.method_not_allowed",
    406: "http.not_acceptable",
    408: "http.timeout",
    413: "http.body_too_large",
    414: "http.uri_too_long",
    415: "http.media_type",
    422: "http.invalid_body",
    429: "http.too_many_requests",
    431: "http.headers_too_large",
    500: FastrestErrorCodes.INTERNAL_ERROR.code,
    503: "http.unavailable",
}


class _Status(Exception):  # noqa: N818 - stands for a status, and is never raised
    def __init__(self, status: int, detail: str | None, errors: Iterable[Fault]) -> None:
        super().__init__(detail)
        self.http_status = status
        self.code = _STATUS_CODES.get(status, f"http.{status}")
        self.safe_message = detail
        self.errors = tuple(errors)


def pointer_of(path: Iterable[str | int]) -> str:
    """The JSON pointer (RFC 6901) of a path of names and positions."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)


def problem_of(
    error: BaseException, *, instance: str | None = None, fields: Container[str] | None = None
) -> dict[str, Any]:
    """The problem document of an error.

    `errors` say for each thing that is wrong where it stands: `pointer` into the body,
    `parameter` or `header`. Of a server error nothing is told but its code.

    Args:
        error: Any error; one that carries no `code` and `http_status` is an internal one.
        instance: The path of the request, decoded.
        fields: The fields that a body may have; of others that are taken nothing is told. All by
            default.
    """
    body = problem_for(error, instance=None if instance is None else path_text(instance))
    status: int = body["status"]
    body.pop("errors", None)
    if status >= _SERVER:
        return body
    detail = _DETAILS.get(body["code"]) or body.get("detail")
    if detail:
        body["detail"] = detail if len(detail) <= _LONGEST else f"{detail[:_LONGEST]}…"
    faults = [_rendered(fault) for fault in _faults(error, fields)]
    if faults:
        body["errors"] = faults
    return body


def problem_response(
    error: BaseException, *, instance: str | None = None, fields: Container[str] | None = None
) -> HttpResponse:
    """The answer of an error: a problem document and the headers that go with it.

    An outage that a retry may mend (503) has `Retry-After`: the error's `retry_after` seconds,
    or one second. A 401 has `WWW-Authenticate`.

    Args:
        error: See `problem_of`.
        instance: See `problem_of`.
        fields: See `problem_of`.
    """
    return _response(problem_of(error, instance=instance, fields=fields), headers_of(error))


def status_response(
    status: int,
    *,
    instance: str | None = None,
    detail: str | None = None,
    errors: Iterable[Fault] = (),
    headers: Iterable[tuple[str, str]] = (),
) -> HttpResponse:
    """The problem document of a status that a framework answers by itself, such as 405.

    Args:
        status: From 400 on.
        instance: The path of the request, decoded.
        detail: What was wrong; left out of those from 500 on.
        errors: What was wrong, one by one.
        headers: The framework's headers, such as `Allow`; not of its body.
    """
    error = _Status(status, detail, errors)
    kept = [
        (name.lower(), value)
        for name, value in headers
        if name.lower() not in {"content-type", "content-length"}
    ]
    body = problem_of(error, instance=instance)
    if body.get("detail") in {None, "None", ""}:
        body.pop("detail", None)
    return _response(body, (*kept, *headers_of(error, known={name for name, _ in kept})))


def headers_of(error: BaseException, *, known: Iterable[str] = ()) -> tuple[tuple[str, str], ...]:
    """The headers that the answer of an error has, but for those known already."""
    own = cast("Sequence[tuple[str, str]]", getattr(error, "headers", ()) or ())
    headers = [(name, value) for name, value in own] if isinstance(own, tuple) else []
    names = {*known, *(name for name, _ in headers)}
    status = error_code_for(error).http_status
    if status == _UNAUTHENTICATED and "www-authenticate" not in names:
        headers.append(("www-authenticate", 'Bearer error="invalid_token"'))
    if status == _UNAVAILABLE and "retry-after" not in names:
        headers.append(("retry-after", str(_seconds(error))))
    return tuple(headers)


def is_answerable(error: Exception) -> bool:
    """Tell whether an error says what to answer: a client's, or an outage that a retry may mend."""
    if isinstance(error, ValidationError):
        return False
    status = error_code_for(error).http_status
    return status < _SERVER or status == _UNAVAILABLE


def invalid_body(
    error: ValidationError, body: bytes | dict[str, Any]
) -> InvalidBodyError | InvalidRequestError:
    """What pydantic says of a body as an error of this package, without the values."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if len(found) == 1 and found[0]["type"] == "json_invalid":
        return InvalidRequestError(f"the body is no JSON: {found[0]['msg']}")
    given = from_json(body) if isinstance(body, bytes) else body
    faults = [body_fault(each, given) for each in found[:100]]
    return InvalidBodyError("the body does not fit the operation", errors=faults)


def body_fault(error: Mapping[str, Any], body: object) -> Fault:
    """What pydantic says of a body, with a pointer to a place that the body has.

    What else its `loc` names, such as the member of a union that was tried, is left out.

    Args:
        error: One of those that `ValidationError.errors()` lists.
        body: What was checked, of JSON.
    """
    loc: Sequence[str | int] = error["loc"]
    inside: Any = body
    path: list[str | int] = []
    for number, step in enumerate(loc, 1):
        listed: bool = type(cast("object", inside)) is list
        at: Any = step if listed else str(step)
        try:
            inside = inside[at]
        except (LookupError, TypeError):
            if error["type"] != "missing" or number < len(loc):
                continue
        path.append(step)
    return Fault(error["msg"], pointer_of(path))


def _response(body: dict[str, Any], headers: Iterable[tuple[str, str]]) -> HttpResponse:
    return HttpResponse(body["status"], (_CONTENT_TYPE, *headers), json.dumps(body).encode())


def _seconds(error: BaseException) -> int:
    asked = getattr(error, "retry_after", None)
    if not isinstance(asked, (int, float)) or not asked > _RETRY_AFTER:
        return _RETRY_AFTER
    # A circuit that somebody opened by hand asks for an infinite time.
    return ceil(min(asked, _MOST_SECONDS))


def _faults(error: BaseException, known: Container[str] | None) -> list[Fault]:
    errors = getattr(error, "errors", ())
    found: list[Fault] = []
    if isinstance(errors, tuple):
        for each in cast("Iterable[Any]", errors):
            if isinstance(each, Fault):
                found.append(each)
            elif isinstance(getattr(each, "message", None), str):
                found.append(Fault(each.message, _pointer(each)))
    fields = getattr(error, "fields", ())
    if not found and isinstance(fields, tuple):
        names = [each for each in cast("tuple[str, ...]", fields) if known is None or each in known]
        found = [Fault("is taken", pointer_of([name])) for name in names]
    return found


def _pointer(error: Any) -> str | None:
    index, field = getattr(error, "index", None), getattr(error, "field", None)
    path = [each for each in (index, field) if each is not None]
    return pointer_of(path) if path else None


def _rendered(fault: Fault) -> dict[str, str]:
    rendered = {"message": fault.message}
    for name in ("pointer", "parameter", "header"):
        value = getattr(fault, name)
        if value is not None:
            rendered[name] = value
    return rendered
