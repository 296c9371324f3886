"""One request: who sends it, what they may do, and how it is answered."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl
from uuid import uuid4

import anyio
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from varco_console._access import Operator, Permission
from varco_console._errors import RefusedError
from varco_console._rendering import render
from varco_console._security import COOKIE, FIELD, HEADERS, browser_of, remember
from varco_console._setup import Named, Setup
from varco_events import EventsError

_LARGEST_FORM: Final = 1_000_000
_MOST_FIELDS: Final = 2_000

_log = logging.getLogger("varco_console")

type Handler = Callable[[View], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Form:
    """What a form says: each name with its values, in order."""

    values: Mapping[str, Sequence[str]]

    def get(self, name: str, default: str = "") -> str:
        """The last value of a name."""
        found = self.values.get(name)
        return found[-1] if found else default

    def all(self, name: str) -> Sequence[str]:
        """All values of a name."""
        return self.values.get(name, ())

    def single(self) -> dict[str, str]:
        """The last value of each name."""
        return {name: found[-1] for name, found in self.values.items()}


class View:
    """One request. Belongs to the task that answers it.

    Args:
        setup: What the console was given.
        request: The request.
        operator: Who sends it; None for nobody known.
        access: What they may do.
    """

    def __init__(
        self,
        setup: Setup,
        request: Request,
        operator: Operator | None,
        access: frozenset[Permission],
    ) -> None:
        self.setup = setup
        self.request = request
        self.operator = operator
        self.access = access
        self._browser = browser_of(request)

    @property
    def user(self) -> str:
        """The name of who sends it; empty for nobody known."""
        return (self.operator.user_id or "") if self.operator else ""

    @property
    def root(self) -> str:
        """The way from this page to the first one, as relative URLs go."""
        return "../" * (route_path(self.request).count("/") - 1) or "./"

    @property
    def query(self) -> dict[str, str]:
        """What the URL says: the last value of each name.

        Raises:
            RefusedError: there is a NUL in it, which databases refuse.
        """
        found = dict(self.request.query_params)
        if _has_nul(found) or _has_nul(found.values()):
            raise RefusedError(400, "This address cannot be read", "There is a NUL in it.")
        return found

    def may(self, permission: str) -> bool:
        """Whether they may do something."""
        return permission in self.access

    def require(self, permission: Permission) -> None:
        """Refuse who may not do something.

        Raises:
            RefusedError: they may not.
        """
        if permission not in self.access:
            raise RefusedError(
                403,
                "You may not do this",
                f"It needs the permission “{permission}”, which is given by whoever runs the "
                "console.",
            )

    def named(self) -> Named:
        """The store that the path names.

        Raises:
            RefusedError: there is none.
        """
        found = self.setup.stores.get(self.request.path_params["store"])
        if found is None:
            raise RefusedError(404, "There is no such store", "Choose one of those above.")
        return found

    async def within[T](self, awaitable: Awaitable[T], limit: float | None = None) -> T:
        """What is awaited, if it comes in time.

        Raises:
            RefusedError: it does not.
        """
        seconds = self.setup.timeout if limit is None else limit
        try:
            with anyio.fail_after(seconds):
                return await awaitable
        except TimeoutError as error:
            raise RefusedError(
                503,
                f"No answer within {seconds:g} seconds",
                "The store is slow or down. Try again, or choose a shorter period.",
            ) from error

    async def asked[T](self, awaitable: Awaitable[T]) -> tuple[T | None, str | None]:
        """What is awaited, or why there is nothing: a part that fails must not hide the others."""
        try:
            return await self.within(awaitable), None
        except (RefusedError, EventsError) as error:
            return None, str(error)
        except Exception:  # noqa: BLE001  # it is logged, and a page says where
            return None, f"It could not be asked. {logged('asking a part')}"

    async def form(self) -> Form:
        """The form that was sent, if it is one that the console made for this browser and user.

        Raises:
            RefusedError: it is not, or it is too large.
        """
        parts: list[bytes] = []
        size = 0
        async for part in self.request.stream():
            size += len(part)
            if size > _LARGEST_FORM:
                raise RefusedError(413, "This form is too large", "Send less at once.")
            parts.append(part)
        try:
            pairs = parse_qsl(
                b"".join(parts).decode("latin-1"),
                keep_blank_values=True,
                max_num_fields=_MOST_FIELDS,
            )
        except ValueError as error:
            raise RefusedError(400, "This form has too many fields", "Choose fewer.") from error
        values: dict[str, list[str]] = {}
        for name, value in pairs:
            values.setdefault(name, []).append(value)
        if _has_nul(values) or any(map(_has_nul, values.values())):
            raise RefusedError(400, "This form cannot be read", "There is a NUL in it.")
        form = Form(values)
        self.setup.forms.check(self.request, form.get(FIELD), self.user)
        return form

    def page(self, template: str, *, status: int = 200, **context: Any) -> Response:
        """An answer with a page."""
        body = render(
            template,
            {
                "root": self.root,
                "title": self.setup.title,
                "stores": self.setup.stores.values(),
                "user": self.user,
                "may": self.may,
                "csrf": self.setup.forms.token(self._browser, self.user),
                "section": route_path(self.request).split("/")[1],
                "live": self.request.query_params.get("live") == "on",
                "can_sign_in": hasattr(self.setup.identify, "who"),
                **context,
            },
        )
        # What was half of a character where it came from is no UTF-8.
        content = body.encode("utf-8", "replace")
        response = HTMLResponse(content, status, dict(HEADERS) | {"cache-control": "no-store"})
        if COOKIE not in self.request.cookies:
            remember(response, self.request, COOKIE, self._browser)
        return response

    def go(self, path: str) -> Response:
        """An answer that sends the browser to another page of the console."""
        return RedirectResponse(self.root + path, 303, dict(HEADERS))


def logged(what: str) -> str:
    """Log the error that is handled now; says where to find it, and nothing of it."""
    known_as = uuid4().hex[:8]
    _log.exception("%s failed (%s)", what, known_as)
    return f"What went wrong is in the log of the process, under {known_as}."


def _has_nul(texts: Iterable[str]) -> bool:
    return any("\0" in text for text in texts)


def route_path(request: Request) -> str:
    """The path within the console."""
    path: str = request.scope["path"]
    prefix: str = request.scope.get("root_path", "")
    return path.removeprefix(prefix) or "/" if prefix else path
