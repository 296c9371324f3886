"""The console as an ASGI application."""

import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib.resources import files
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from varco_console import _actions, _failures, _flow, _pages, _parts, _sign_in
from varco_console._access import AccessOf, Identify, Operator, Permission
from varco_console._audit import AuditLog, MemoryAudit
from varco_console._errors import ConsoleConfigError, RefusedError
from varco_console._redaction import Hides, hidden_by_hints
from varco_console._security import HEADERS, Forms, remember
from varco_console._setup import (
    Authority,
    Breaker,
    Cache,
    HealthCheck,
    Issuers,
    Named,
    Relay,
    Setup,
)
from varco_console._view import Handler, View, logged
from varco_events import ConsumerStates, EventsError, FailureStore

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9 _-]{0,39}")
_STATIC: Final = {
    "console.css": "text/css",
    "console.js": "text/javascript",
    "htmx.min.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_UNKNOWN: Final = 401
_SERVER: Final = 500
_log = logging.getLogger("varco_console")


def _nothing(_: Operator) -> frozenset[Permission]:
    return frozenset()


class Console:
    """What an operator sees and does: an ASGI application, to mount or to start.

    It is closed: without `identify` and `access` nobody sees anything. It keeps no state of its own
    but in `audit`, so any number of processes may serve one console, if they share `secret` and
    `audit`. It starts no task: an action goes on in steps that its page asks for, and what is not
    done when somebody leaves the page waits as before.

    Args:
        failures: The stores of failures by the name that people know them by: letters, digits,
            spaces, hyphens.
        identify: Finds out who sends a request, such as a `TokenSignIn`.
        access: Says what they may do: nothing, `READ_ONLY`, `FULL_ACCESS`, or single permissions.
        title: What is operated, for the head of each page.
        secret: Tells forms of the console from others'; at least 16 bytes, the same in all
            processes. One of this process unless given.
        audit: Where it is kept who did what; in the memory of this process unless given.
        hides: Which values of payloads and headers are not shown.
        trace_url: Where a trace can be seen, with `{trace_id}` in it.
        buses: What tells who handles events, by name: a channel manager, or a bus in memory.
        relays: Relays of this process, by name.
        breakers: Circuit breakers, such as a `CircuitBreakerRegistry`.
        caches: Caches by name.
        keys: Authorities that sign tokens, and registries of issuers, by name; names and ages of
            keys are shown, never keys.
        health: Asks whether the parts of the application can serve.
        timeout: Seconds that a page waits for a store.
        parts: Async context managers that live as long as the console when it is started by
            itself; where it is mounted, the application around it has their lives.

    Raises:
        ConsoleConfigError: a name that cannot stand in a URL, two that are one there, a secret that
            is too short, or a limit that is none.
    """

    def __init__(
        self,
        failures: Mapping[str, FailureStore],
        *,
        identify: Identify | None = None,
        access: AccessOf[Any] = _nothing,
        title: str = "Console",
        secret: bytes | None = None,
        audit: AuditLog | None = None,
        hides: Hides = hidden_by_hints,
        trace_url: str | None = None,
        buses: Mapping[str, ConsumerStates] | None = None,
        relays: Mapping[str, Relay] | None = None,
        breakers: Iterable[Breaker] = (),
        caches: Mapping[str, Cache] | None = None,
        keys: Mapping[str, Authority | Issuers] | None = None,
        health: HealthCheck | None = None,
        timeout: float = 5.0,
        parts: Iterable[AbstractAsyncContextManager[Any]] = (),
    ) -> None:
        if timeout <= 0:
            raise ConsoleConfigError(f"timeout is above zero, not {timeout!r}")
        if trace_url is not None and not re.match(r"https?://.*\{trace_id\}", trace_url):
            raise ConsoleConfigError(
                f"trace_url is an http(s) URL with {{trace_id}} in it, not {trace_url!r}"
            )
        self._setup = Setup(
            title=title,
            stores=_named(failures),
            identify=identify,
            access=access,
            forms=Forms(secret),
            audit=MemoryAudit() if audit is None else audit,
            hides=hides,
            trace_url=trace_url,
            buses=dict(buses or {}),
            relays=dict(relays or {}),
            breakers=breakers,
            caches=dict(caches or {}),
            keys=dict(keys or {}),
            health=health,
            timeout=timeout,
        )
        self._parts = tuple(parts)
        self._looks = _flow.Looks()
        self._app = Starlette(
            routes=[*self._routes()],
            exception_handlers={HTTPException: self._no_route},
            lifespan=self._lifespan,
        )
        # Its redirects would be absolute: wrong behind a prefix that the console does not know.
        self._app.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or live as long as a server does."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        inside = scope["path"].removeprefix(scope.get("root_path", "")).rstrip("/")
        asked: bytes = scope.get("raw_path") or scope["path"].encode()
        if asked.endswith(b"/") == (inside == ""):
            # A framework around it may have added a slash that nobody asked for.
            path = scope.get("root_path", "") + (inside or "/")
            await self._app({**scope, "path": path}, receive, send)
            return
        # Relative URLs need the slash behind the first page, and none behind the others.
        last = asked.rstrip(b"/").rsplit(b"/", 1)[-1].decode("ascii", "replace")
        place = f"../{last}" if inside else f"./{last}/"
        query = scope["query_string"].decode("latin-1")
        answer = RedirectResponse(f"{place}?{query}" if query else place, 307, dict(HEADERS))
        await answer(scope, receive, send)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            for part in self._parts:
                await stack.enter_async_context(part)
            yield

    def _routes(self) -> Iterable[Route]:
        store, one = "/failures/{store}", "/failures/{store}/entries/{entry_id:uuid}"
        for path, method, handler in (
            ("/", "GET", _pages.overview),
            (store, "GET", _failures.groups),
            (f"{store}/entries", "GET", _failures.entries),
            (one, "GET", _failures.entry),
            (f"{one}/edit", "GET", _failures.edit),
            (f"{one}/edit", "POST", _failures.edit),
            (f"{store}/act", "POST", _actions.act),
            ("/actions/{entry_id:uuid}", "GET", _actions.show),
            ("/actions/{entry_id:uuid}/step", "POST", _actions.step),
            ("/flow", "GET", self._flow),
            ("/flow/{store}/release", "POST", _flow.release),
            ("/parts", "GET", _parts.parts),
            ("/parts/breakers", "POST", _parts.breaker),
            ("/parts/caches", "POST", _parts.cache),
            ("/audit", "GET", _pages.audit),
        ):
            yield Route(path, self._endpoint(handler), methods=[method])
        yield Route(
            "/sign-in", self._endpoint(self._sign_in, is_open=True), methods=["GET", "POST"]
        )
        yield Route("/sign-out", self._endpoint(self._sign_out, is_open=True), methods=["POST"])
        for name, kind in _STATIC.items():
            yield Route(f"/static/{name}", _static(name, kind), methods=["GET"])

    def _endpoint(
        self, handler: Handler, *, is_open: bool = False
    ) -> Callable[[Request], Awaitable[Response]]:
        """What answers requests with a handler, for those who may look."""

        async def endpoint(request: Request) -> Response:
            view = View(self._setup, request, None, frozenset())
            try:
                view = await self._identified(view)
                if not is_open and not view.may(Permission.LOOK):
                    return self._refuse(view)
                return await handler(view)
            except RefusedError as error:
                return _error(view, error.http_status, error.title, error.remedy)
            except EventsError as error:
                if error.http_status >= _SERVER:
                    _log.warning("%r: %s", request.scope["path"], error)
                return _error(view, error.http_status, "This could not be done", str(error))
            except Exception:  # noqa: BLE001  # it is logged, and a page says where
                # Not request.url: the host that it has may be nonsense.
                text = logged(f"{request.method} {request.scope['path']!r}")
                return _error(view, _SERVER, "Something went wrong", text)

        return endpoint

    async def _identified(self, view: View) -> View:
        identify, operator, access = self._setup.identify, None, frozenset[Permission]()
        if identify is not None:
            operator = await view.within(identify(view.request))
        if operator is not None and operator.user_id:
            access = frozenset(map(Permission, self._setup.access(operator)))
        return View(self._setup, view.request, operator, access)

    def _refuse(self, view: View) -> Response:
        if view.user:
            text = f"Whoever runs the console has given “{view.user}” no access to it."
            return _error(view, 403, "You have no access", text)
        if isinstance(self._setup.identify, _sign_in.TokenSignIn):
            return view.go("sign-in")
        text = "The console does not know who you are."
        if self._setup.identify is None:
            text = "It was made without `identify`, so it is closed to everybody."
        return _error(view, _UNKNOWN, "Please sign in", text)

    async def _flow(self, view: View) -> Response:
        return await _flow.flow(view, self._looks)

    async def _sign_in(self, view: View) -> Response:
        identify = self._setup.identify
        if not isinstance(identify, _sign_in.TokenSignIn):
            raise RefusedError(404, "There is no such page", "Signing in is done elsewhere.")
        if view.request.method == "GET":
            return view.page("sign_in.html", error=None)
        token = (await view.form()).get("token").strip()
        if await view.within(identify.who(token)) is None:
            text = "This token is not accepted. It may have expired: get a new one."
            return view.page("sign_in.html", status=_UNKNOWN, error=text)
        response = view.go("")
        remember(response, view.request, _sign_in.SESSION, token)
        return response

    async def _sign_out(self, view: View) -> Response:
        await view.form()
        response = view.go("sign-in")
        response.delete_cookie(_sign_in.SESSION, path="/")
        return response

    async def _no_route(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else _SERVER

        async def answer(_: View) -> Response:
            raise RefusedError(status, "There is no such page", "Choose one of those above.")

        return await self._endpoint(answer)(request)


def _named(failures: Mapping[str, FailureStore]) -> dict[str, Named]:
    found: dict[str, Named] = {}
    for name, store in failures.items():
        if not _NAME.fullmatch(name):
            raise ConsoleConfigError(
                f"a store's name is a letter and up to 39 letters, digits, spaces, hyphens and "
                f"underscores, not {name!r}"
            )
        slug = name.lower().replace(" ", "-")
        if slug in found:
            raise ConsoleConfigError(f"{name!r} and {found[slug].name!r} are one in a URL")
        found[slug] = Named(slug, name, store)
    return found


def _error(view: View, status: int, title: str, remedy: str) -> Response:
    return view.page("error.html", status=status, heading=title, remedy=remedy)


def _static(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    content = files("varco_console").joinpath("static", name).read_bytes()
    headers = dict(HEADERS) | {"cache-control": "public, max-age=3600"}

    async def static(_: Request) -> Response:
        return Response(content, 200, headers, kind)

    return static
