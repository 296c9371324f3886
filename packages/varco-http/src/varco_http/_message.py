"""A request and a response, as no framework in particular has them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, quote

from varco_domain.auth import ANONYMOUS, AuthContext
from varco_http._errors import InvalidRequestError

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
# What RFC 3986 lets stand in a path, and the percent sign of what is quoted already.
_PATH: Final = "/:@!$&'()*+,;=-._~"
_MAX_PAIRS: Final = 100
# Statuses whose answers have no body, and say nothing of its length.
_EMPTY: Final = frozenset({204, 304})


def path_text(path: str) -> str:
    """A decoded path as it stands in a URL."""
    return quote(path, safe=_PATH, errors="replace")


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What was asked for, by whom, for which tenant.

    Attributes:
        method: In capitals.
        path: Decoded, as the client sees it: with what the application is mounted under.
        path_params: The decoded parts of the path by the names in the operation's template.
        query: The decoded query parameters, in order.
        headers: By names in small letters; those sent several times joined by a comma.
        body: The whole body.
        ctx: Who asks.
        tenant: In whose tenant the service is called; None leaves the one in context.
    """

    method: str
    path: str
    path_params: Mapping[str, str] = field(default_factory=dict[str, str])
    query: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    ctx: AuthContext = ANONYMOUS
    tenant: str | None = None

    @property
    def target(self) -> str:
        """The path as it stands in a URL."""
        return path_text(self.path)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What is answered.

    Attributes:
        status: The status code.
        headers: Names in small letters, and values; Content-Length is added where it is sent.
        body: The whole body.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        return next((value for each, value in self.headers if each == name), None)

    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers as ASGI has them, with the length of the body.

        They answer HEAD as well, to which the body is not sent (RFC 9110, section 9.3.2).
        """
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self.headers]
        if self.status not in _EMPTY:
            raw.append((b"content-length", b"%d" % len(self.body)))
        return raw


def asgi_request(
    scope: Mapping[str, Any],
    body: bytes = b"",
    *,
    path_params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    ctx: AuthContext = ANONYMOUS,
    tenant: str | None = None,
) -> HttpRequest:
    """The request of an ASGI scope (HTTP).

    Args:
        scope: As the server gave it, or the framework.
        body: The whole body.
        path_params: The parts of the path; those of the scope by default.
        headers: What `parse_headers` made of the scope's, if it did already.
        ctx: Who asks.
        tenant: In whose tenant.

    Raises:
        InvalidRequestError: The query is no text of UTF-8, or has over 100 parameters.
    """
    given: Mapping[str, str] = scope.get("path_params", {}) if path_params is None else path_params
    return HttpRequest(
        scope["method"],
        scope["path"],
        given,
        parse_query(scope.get("query_string", b"")),
        parse_headers(scope["headers"]) if headers is None else headers,
        body,
        ctx,
        tenant,
    )


def parse_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by their names in small letters; repeated ones are joined by a comma."""
    headers: dict[str, str] = {}
    for key, content in raw:
        name, value = key.decode("latin-1").lower(), content.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def parse_query(raw: bytes) -> list[tuple[str, str]]:
    """The decoded parameters of a query string, in order.

    Raises:
        InvalidRequestError: It is no text of UTF-8, or has over 100 parameters.
    """
    if not raw:
        return []
    if raw.count(b"&") >= _MAX_PAIRS:
        raise InvalidRequestError(f"the query has over {_MAX_PAIRS} parameters")
    try:
        return parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        raise InvalidRequestError(
            "the query is no percent-encoded text of UTF-8 (RFC 3986)"
        ) from None
