"""Signing in with a token, where nothing in front of the console does it."""

import inspect
from typing import Any, Final, Protocol

from starlette.requests import Request

from varco_console._access import Operator

SESSION: Final = "varco-console-session"
_BEARER: Final = "bearer "
_UNAUTHENTICATED: Final = 401
_LONGEST: Final = 3_800  # a cookie holds no more


class TokenVerifier(Protocol):
    """What checks a token: a `TrustedIssuerRegistry` or an authority of varco-auth-jwt.

    `verify` returns an object with `auth_ctx`, or an awaitable of it, and raises an error whose
    `http_status` is 401 for a token that it refuses.
    """

    def verify(self, token: str, /) -> Any:
        """The token, checked."""
        ...


class TokenSignIn:
    """Knows operators by a token: in `Authorization: Bearer`, or pasted into a page once.

    The page keeps the token in a cookie that scripts do not see, until the browser is closed; it is
    verified with every request, so what is expired or revoked is out.

    Args:
        verifier: Checks tokens.
    """

    def __init__(self, verifier: TokenVerifier) -> None:
        self._verifier = verifier

    async def __call__(self, request: Request) -> Operator | None:
        """Who sends a request."""
        header = request.headers.get("authorization", "")
        if header[: len(_BEARER)].lower() == _BEARER:
            return await self.who(header[len(_BEARER) :].strip())
        return await self.who(request.cookies.get(SESSION, ""))

    async def who(self, token: str) -> Operator | None:
        """Whose token it is; None when it is refused."""
        if not token or len(token) > _LONGEST:
            return None
        try:
            checked = self._verifier.verify(token)
            if inspect.isawaitable(checked):
                checked = await checked
        except Exception as error:
            if getattr(error, "http_status", None) == _UNAUTHENTICATED:
                return None
            raise
        found: Operator | None = checked.auth_ctx
        return found
