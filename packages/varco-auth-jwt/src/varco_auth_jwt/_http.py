"""Fetches one JSON document, trusting nobody: not its size, its speed, nor where it leads."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

import anyio

from varco_auth_jwt._codec import json_object
from varco_auth_jwt._errors import KeyLoadError, shown

if TYPE_CHECKING:
    import httpx

MAX_BYTES: Final = 512 * 1024
_MAX_REDIRECTS: Final = 3
_OK: Final = 200


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
    import httpx  # noqa: PLC0415  # loaded when a source fetches, and not before

    failure: str
    try:
        with anyio.fail_after(timeout):
            local = _is_loopback(urlsplit(url).hostname or "")
            async with httpx.AsyncClient(timeout=timeout, trust_env=not local) as client:
                return json_object(await _read(client, url))
    except TimeoutError:
        failure = f"no answer within {timeout:g} seconds"
    except RecursionError:
        failure = "nested too deep"
    except ValueError as error:
        failure = f"the answer is no JSON object ({str(error)[:80]})"
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        failure = f"{type(error).__name__}: {str(error)[:160]}"
    raise KeyLoadError(f"{shown(url)}: {failure}")


async def _read(client: httpx.AsyncClient, url: str) -> bytes:
    origin = _origin(url)
    for _ in range(_MAX_REDIRECTS + 1):
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        async with client.stream("GET", check_url(url), headers=headers) as response:
            if not response.has_redirect_location:
                return await _body(response, url)
            url = urljoin(url, response.headers["Location"])
        if _origin(url) != origin:
            raise KeyLoadError(f"{origin} redirects to another origin, {shown(url)}: refused")
    raise KeyLoadError(f"{origin} redirects more than {_MAX_REDIRECTS} times")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    default = {"https": 443, "http": 80}.get(parts.scheme)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or default}"


async def _body(response: httpx.Response, url: str) -> bytes:
    headers = response.headers
    media = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if response.status_code != _OK:
        raise KeyLoadError(f"{shown(url)} answered {response.status_code}")
    if media != "application/json" and not media.endswith("+json"):
        raise KeyLoadError(f"{shown(url)} answered {shown(media)}, and not application/json")
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise KeyLoadError(f"{shown(url)} answered compressed, which it was not asked for")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_BYTES:
            raise KeyLoadError(f"{shown(url)} answered more than {MAX_BYTES} bytes")
    return bytes(body)
