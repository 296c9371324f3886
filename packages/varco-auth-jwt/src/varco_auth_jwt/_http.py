"""Fetches one JSON document, trusting nobody: not its size, its speed, nor where it leads."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from ipaddress import ip_address
from socket import SHUT_RDWR
from threading import Timer
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urljoin, urlsplit

import anyio
from anyio import to_thread

from varco_auth_jwt._codec import json_object
from varco_auth_jwt._errors import KeyLoadError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from socket import socket

    import httpx

MAX_BYTES: Final = 512 * 1024
_MAX_REDIRECTS: Final = 3
_OK: Final = 200
# A host and perhaps a port: no credentials, and nothing that two parsers read in two ways.
_AUTHORITY: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::[0-9]+)?")
# What JSON is served as; all but the first by file servers and object stores, which know no better.
_JSON: Final = frozenset(
    {"application/json", "text/plain", "application/octet-stream", "binary/octet-stream"}
)
_ACCEPT: Final = {"Accept": "application/json", "Accept-Encoding": "identity"}


def check_url(url: str) -> str:
    """The URL, if keys may be fetched from it.

    Raises:
        KeyLoadError: it is neither https, nor http to this machine, or carries credentials.
    """
    bare = shown(url.rpartition("@")[2])
    try:
        parts = urlsplit(url)
        sound = _AUTHORITY.fullmatch(parts.netloc) is not None and parts.port != 0
    except ValueError:
        raise KeyLoadError(f"{bare} is no URL") from None
    if not sound or not url.isprintable() or " " in url:
        raise KeyLoadError(f"a URL of keys names a host and carries no credentials: {bare}")
    if parts.scheme != "https" and not is_local_http(url):
        raise KeyLoadError(f"keys come by https (by http from this machine only): {bare}")
    return url


def is_local_http(url: str) -> bool:
    """Whether the URL is of plain http to this machine."""
    parts = urlsplit(url)
    return parts.scheme == "http" and _is_loopback(parts.hostname or "")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


async def fetch_json(url: str, *, timeout: float) -> dict[str, Any]:  # noqa: ASYNC109  # the source's own option
    """Fetch a JSON object.

    Follows at most three redirects within the same origin, reads at most 512 KB of uncompressed
    JSON, and gives up after `timeout` seconds in all.

    Raises:
        KeyLoadError: anything else happened.
    """
    failure = _late(timeout)
    with anyio.move_on_after(timeout):
        # In a thread: reading certificates and looking up names would hold up the event loop, and
        # httpx's async streams cannot be left half read. It ends by its own deadline.
        body, failure = await to_thread.run_sync(_get, url, timeout, abandon_on_cancel=True)
        try:
            return json_object(body)
        except (ValueError, RecursionError) as error:
            failure = failure or f"the answer is no JSON object ({str(error)[:80]})"
    raise KeyLoadError(f"{shown(url)}: {failure}")


def _get(url: str, timeout: float) -> tuple[bytes, str]:
    """The body, or why there is none."""
    import httpx  # noqa: PLC0415  # loaded when a source fetches, and not before

    local = _is_loopback(urlsplit(url).hostname or "")
    with _Deadline(timeout) as deadline:
        try:
            with httpx.Client(trust_env=not local, timeout=timeout) as client:
                return _read(client, url, deadline.trace), ""
        except KeyLoadError as error:
            return b"", str(error)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            if isinstance(error, httpx.TimeoutException) or deadline.is_over:
                return b"", _late(timeout)
            return b"", f"{type(error).__name__}: {str(error)[:160]}"


class _Deadline:
    """Ends the connections of a fetch whose time is over.

    httpx bounds each read, but not their number: a server may go on for ever, a byte at a time.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        # Duplicates, which stay open until the timer is gone: the number of a socket that httpx
        # closed might be another's by the time it is shut down. Only the fetching thread adds to
        # them, and it looks at the time afterwards, so that none is missed by both threads.
        self._sockets: list[socket] = []
        self._timer = Timer(seconds, self._shut)
        self._timer.daemon = True

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self._end

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """What httpx calls when something happens to a connection."""
        if not event.endswith("connect_tcp.complete"):
            return
        stream = info["return_value"]
        try:
            self._sockets.append(stream.get_extra_info("socket").dup())
        except OSError:
            stream.close()  # which httpcore leaves open if a trace raises
            raise
        if self.is_over:
            self._shut()

    def _shut(self) -> None:
        for one in tuple(self._sockets):
            with suppress(OSError):
                one.shutdown(SHUT_RDWR)

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()
        for one in self._sockets:
            one.close()


def _late(timeout: float) -> str:
    return f"no answer within {timeout:g} seconds"


def _read(client: httpx.Client, url: str, trace: Callable[[str, Mapping[str, Any]], None]) -> bytes:
    origin = _origin(url)
    for _ in range(_MAX_REDIRECTS + 1):
        with client.stream(
            "GET", check_url(url), headers=_ACCEPT, extensions={"trace": trace}
        ) as response:
            if not response.has_redirect_location:
                return _body(response)
            url = urljoin(url, response.headers["Location"])
        if _origin(url) != origin:
            raise KeyLoadError(f"redirects to another origin, {shown(url)}: refused")
    raise KeyLoadError(f"redirects more than {_MAX_REDIRECTS} times")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    default = {"https": 443, "http": 80}.get(parts.scheme)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or default}"


def _body(response: httpx.Response) -> bytes:
    headers = response.headers
    # Without a type it is bytes (RFC 9110, 8.3).
    named = headers.get("Content-Type", "application/octet-stream")
    media = named.partition(";")[0].strip().lower()
    if response.status_code != _OK:
        raise KeyLoadError(f"answered {response.status_code}")
    if media not in _JSON and not media.endswith("+json"):
        raise KeyLoadError(f"answered {shown(media)}, and not {', '.join(sorted(_JSON))}")
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise KeyLoadError("answered compressed, which it was not asked for")
    body = bytearray()
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > MAX_BYTES:
            raise KeyLoadError(f"answered more than {MAX_BYTES} bytes")
    return bytes(body)
