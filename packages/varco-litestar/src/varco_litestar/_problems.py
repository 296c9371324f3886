"""Litestar's own errors, and all others, as problem documents (RFC 9457)."""

import json
import logging
import re
from typing import Any, Final, cast

from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.plugins.problem_details import ProblemDetailsException

from varco_http import Fault, HttpResponse, pointer_of, problem_response, status_response
from varco_litestar._resource import Answer, seen_scope

_SERVER: Final = 500
_STEP: Final = re.compile(r"[^.\[\]]+")
_log = logging.getLogger("varco_litestar")


class _Ready(Response[bytes]):
    """What an exception handler has to return, around an answer that is made already."""

    def __init__(self, answer: HttpResponse) -> None:
        super().__init__(answer.body, status_code=answer.status)
        self._answer = answer

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        return Answer(self._answer)


def answer_error(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Answer any error; one that nobody outside can mend is logged, and nothing of it is told."""
    path = seen_scope(request.scope)["path"]
    answer = problem_response(error, instance=path)
    if answer.status >= _SERVER:
        _log.error("%s %s failed", request.method, path, exc_info=error)
    return _Ready(answer)


def answer_status(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Answer an error of Litestar's kind."""
    known = cast("HTTPException", error)
    if known.status_code == _SERVER:
        _log.error("%s %s failed", request.method, request.scope["path"], exc_info=error)
    return _Ready(_status_of(request, known))


def answer_problem(
    request: Request[Any, Any, Any], error: ProblemDetailsException
) -> Response[Any]:
    """Answer a problem that a handler describes; what it leaves out is added."""
    body = json.loads(_status_of(request, error, extra=False).body)
    error.type_ = error.type_ or body["type"]
    error.title = error.title or body["title"]
    error.instance = error.instance or body["instance"]
    if not isinstance(error.extra, list):
        error.extra = {"code": body["code"], **(error.extra or {})}
    return error.to_response(request)


def _status_of(
    request: Request[Any, Any, Any], error: HTTPException, *, extra: bool = True
) -> HttpResponse:
    headers = error.headers or {}
    return status_response(
        error.status_code,
        instance=seen_scope(request.scope)["path"],
        detail=error.detail,
        errors=_faults(error.extra) if extra else (),
        headers=headers.items(),
    )


def _faults(extra: object) -> list[Fault]:
    """What Litestar says of parameters and bodies that do not fit."""
    if not isinstance(extra, list):
        return []
    found: list[Fault] = []
    for each in cast("list[object]", extra):
        if isinstance(each, dict):
            told = cast("dict[str, object]", each)
            message, name = str(told.get("message", "is not valid")), str(told.get("key", ""))
            match told.get("source"):
                case "body" | None:  # of a pydantic model no source is told
                    found.append(Fault(message, pointer_of(_STEP.findall(name))))
                case "header":
                    found.append(Fault(message, header=name))
                case _:
                    found.append(Fault(message, parameter=name))
    return found[:100]
