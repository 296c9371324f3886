"""What every answer says to browsers, and how forms of ours are told from others'."""

import hmac
import secrets
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from varco_console._errors import ConsoleConfigError, RefusedError

COOKIE: Final = "varco-console"
FIELD: Final = "csrf"
_SHORTEST: Final = 16
_TOKEN_BYTES: Final = 24
_SAME: Final = {"same-origin", "none"}

HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Forms:
    """Tells forms that the console made for somebody from forms that others made.

    Args:
        secret: At least 16 bytes, the same in all processes; one of this process unless given.

    Raises:
        ConsoleConfigError: it is too short.
    """

    def __init__(self, secret: bytes | None) -> None:
        if secret is not None and len(secret) < _SHORTEST:
            raise ConsoleConfigError(
                f"a secret has at least {_SHORTEST} bytes, not {len(secret)}; "
                "secrets.token_bytes(32) makes one"
            )
        self._secret = secrets.token_bytes(32) if secret is None else secret

    def token(self, browser: str, user: str) -> str:
        """What a form for somebody at a browser holds."""
        text = f"{len(user)}:{user}{browser}".encode("utf-8", "surrogatepass")
        return hmac.new(self._secret, b"varco-console form " + text, sha256).hexdigest()

    def check(self, request: Request, given: str, user: str) -> None:
        """Refuse a form that was not made for this browser and user.

        Raises:
            RefusedError: it was not.
        """
        site = request.headers.get("sec-fetch-site", "same-origin")
        browser = request.cookies.get(COOKIE, "")
        wanted = self.token(browser, user)
        if (
            site not in _SAME
            or not browser
            or not hmac.compare_digest(wanted.encode(), given.encode("utf-8", "replace"))
        ):
            raise RefusedError(
                403,
                "This form is not from this console",
                "Nothing was done. Open the page again and repeat it. If that does not help: "
                "cookies must be on, and all processes need the same secret.",
            )


def browser_of(request: Request) -> str:
    """What tells a browser from others; a new one where there is none."""
    return request.cookies.get(COOKIE) or secrets.token_urlsafe(_TOKEN_BYTES)


def remember(response: Response, request: Request, name: str, value: str) -> None:
    """Set a cookie that scripts and other sites' forms do not get."""
    response.set_cookie(
        name,
        value,
        path="/",
        httponly=True,
        samesite="lax",
        secure=request.scope["scheme"] == "https",
    )
