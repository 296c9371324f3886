"""Fetches one JSON document, trusting nobody: not its size, its speed, nor where it leads."""

from __future__ import annotations

import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

import anyio
from anyio import to_thread

from varco_auth_jwt._codec import json_object
from varco_auth_jwt._errors import KeyLoadError, shown

if TYPE_CHECKING:
    import httpx

MAX_BYTES: Final = 512 * 1024
_MAX_REDIRECTS: Final = 3
_OK: Final = 200
_ACCEPT: Final = {"Accept": "application/json", "Accept-Encoding": "identity"}


def check_url(url: str) -> str:
    """The URL, if keys may be fetched from it.

    Raises:
        KeyLoadError: it is neither https, nor http to this machine, or carries credentials.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        known_port = parts.port is None or parts.port > 0
    except ValueError:
        raise KeyLoadError(f"{shown(url)} is no URL") from None
    if not (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))):
        raise KeyLoadError(f"keys come by https (by http from this machine only): {shown(url)}")
    if not host or not known_port or parts.username or parts.password:
        raise KeyLoadError(f"a URL of keys names a host and carries no credentials: {shown(url)}")
    return url


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

    deadline = time.monotonic() + timeout
    local = _is_loopback(urlsplit(url).hostname or "")
    try:
        with httpx.Client(trust_env=not local) as client:
            return _read(client, url, deadline), ""
    except KeyLoadError as error:
        return b"", str(error)
    except httpx.TimeoutException:
        return b"", _late(timeout)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        return b"", f"{type(error).__name__}: {str(error)[:160]}"


def _late(timeout: float) -> str:
    return f"no answer within {timeout:g} seconds"


def _read(client: httpx.Client, url: str, deadline: float) -> bytes:
    origin = _origin(url)
    for _ in range(_MAX_REDIRECTS + 1):
        left = deadline - time.monotonic()
        if left <= 0:
            raise KeyLoadError("answered too slowly")
        with client.stream("GET", check_url(url), headers=_ACCEPT, timeout=left) as response:
            if not response.has_redirect_location:
                return _body(response, deadline)
            url = urljoin(url, response.headers["Location"])
        if _origin(url) != origin:
            raise KeyLoadError(f"redirects to another origin, {shown(url)}: refused")
    raise KeyLoadError(f"redirects more than {_MAX_REDIRECTS} times")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    default = {"https": 443, "http": 80}.get(parts.scheme)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or default}"


def _body(response: httpx.Response, deadline: float) -> bytes:
    headers = response.headers
    media = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if response.status_code != _OK:
        raise KeyLoadError(f"answered {response.status_code}")
    if media != "application/json" and not media.endswith("+json"):
        raise KeyLoadError(f"answered {shown(media)}, and not application/json")
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise KeyLoadError("answered compressed, which it was not asked for")
    body = bytearray()
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > MAX_BYTES:
            raise KeyLoadError(f"answered more than {MAX_BYTES} bytes")
        if time.monotonic() > deadline:
            raise KeyLoadError("answered too slowly")
    return bytes(body)
