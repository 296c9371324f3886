"""Health: whether the process lives, and whether it can serve."""

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, runtime_checkable

import anyio

from varco_http._errors import HttpConfigError, HttpError
from varco_http._message import JSON, HttpResponse
from varco_http._problem import problem_response

_HEADERS: Final = (("content-type", JSON), ("cache-control", "no-store"))
_LIVE: Final = HttpResponse(200, _HEADERS, b'{"status":"live"}')
_log = logging.getLogger("varco_http.health")

type Check = Callable[[], Awaitable[Any]]
"""Asks a part whether it can serve: one that raises, or returns False, cannot."""


@runtime_checkable
class CheckedPart(Protocol):
    """A part of an application that can be asked whether it can serve, such as a database.

    Attributes:
        health_name: What it is called in the answer of readiness.
    """

    health_name: str

    async def check_health(self) -> Any:
        """Return if it can serve; raise, or return False, if it cannot."""
        ...


class _NotReadyError(HttpError):
    code = "http.not_ready"
    http_status = 503


class Health:
    """Answers whether the process lives and whether its parts can serve.

    Parts register themselves when they start, and leave when they stop. All are asked at once, each
    with a time limit of its own. Belongs to one event loop.

    Args:
        timeout: For how many seconds a part may think, unless it says otherwise.
    """

    def __init__(self, *, timeout: float = 2.0) -> None:
        self._timeout = timeout
        self._parts: dict[str, tuple[Check, float]] = {}

    def register(self, name: str, check: Check, *, timeout: float | None = None) -> None:
        """Have a part asked.

        Args:
            name: What it is called in the answer.
            check: Asks it.
            timeout: For how many seconds it may think.

        Raises:
            HttpConfigError: Another part is called so.
        """
        if name in self._parts:
            raise HttpConfigError(f"a part called {name!r} is registered already")
        self._parts[name] = (check, self._timeout if timeout is None else timeout)

    def unregister(self, name: str) -> None:
        """Have a part asked no more; one that is not there is none."""
        self._parts.pop(name, None)

    def live(self) -> HttpResponse:
        """Answer that the process lives: 200, and nothing is touched for it."""
        return _LIVE

    async def ready(self) -> HttpResponse:
        """Answer whether all parts can serve: 200, or a problem document (503) of which cannot.

        Why a part cannot is logged and not told.
        """
        parts = dict(self._parts)
        found: dict[str, str] = {}
        async with anyio.create_task_group() as group:
            for name, (check, timeout) in parts.items():
                group.start_soon(_ask, name, check, timeout, found)
        told = {name: found[name] for name in parts}
        if all(state == "ready" for state in found.values()):
            body = json.dumps({"status": "ready", "parts": told})
            return HttpResponse(200, _HEADERS, body.encode())
        error = _NotReadyError("a part cannot serve", headers=[("cache-control", "no-store")])
        problem = problem_response(error)
        body = json.dumps({**json.loads(problem.body), "parts": told})
        return HttpResponse(503, problem.headers, body.encode())


async def _ask(name: str, check: Check, timeout: float, found: dict[str, str]) -> None:  # noqa: ASYNC109 - a part's own limit
    found[name] = "timed out"
    with anyio.move_on_after(timeout) as scope:
        try:
            found[name] = "failed" if await check() is False else "ready"
        except Exception:  # noqa: BLE001 - whatever it raises, it cannot serve
            found[name] = "failed"
            _log.exception("the part %r cannot serve", name)
    if scope.cancelled_caught:
        _log.error("the part %r did not answer within %s seconds", name, timeout)
