"""Who calls: from the headers of a request to an AuthContext and a tenant."""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from varco_domain.auth import ANONYMOUS, AuthContext
from varco_domain.exception import error_code_for
from varco_http._errors import HttpConfigError, UnauthenticatedError
from varco_http._tenants import TenantOf

_UNAUTHENTICATED: Final = 401
_LONGEST_KEY: Final = 4_096


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and for which tenant.

    Attributes:
        ctx: The context that services ask for.
        tenant: The tenant; None where none is declared.
        claims: What the credentials say besides, such as the claims of a token.
        scheme: The name of the scheme of the credentials; None of a caller without.
    """

    ctx: AuthContext = ANONYMOUS
    tenant: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict[str, Any])
    scheme: str | None = None


class TokenVerifier(Protocol):
    """What checks a token: a `TrustedIssuerRegistry`, an authority or a parser's owner.

    `verify` returns an object with `auth_ctx` and `extra_claims`, or an awaitable of it, and
    raises an error whose `http_status` is 401 for a token that it refuses.
    """

    def verify(self, token: str, /) -> Any:
        """The token, checked."""
        ...


class Scheme(Protocol):
    """One way to say who calls."""

    name: str

    def challenge(self, error: str | None = None) -> str | None:
        """What `WWW-Authenticate` says; None when the scheme has no name there."""
        ...

    def openapi(self) -> dict[str, Any]:
        """The security scheme as OpenAPI has it."""
        ...

    async def read(self, headers: Mapping[str, str]) -> Caller | None:
        """Who calls; None when the headers hold no credentials of this scheme."""
        ...


class BearerTokens:
    """Tokens in `Authorization: Bearer` (RFC 6750); the scheme's name in any case.

    Args:
        verifier: Checks the tokens.
        realm: What the tokens are for, as `WWW-Authenticate` says it.
        name: The name of the scheme in the documentation.

    Raises:
        HttpConfigError: The realm cannot stand between quotes.
    """

    def __init__(
        self, verifier: TokenVerifier, *, realm: str | None = None, name: str = "bearer"
    ) -> None:
        if realm is not None and (not realm.isascii() or not realm.isprintable() or '"' in realm):
            raise HttpConfigError(f"a realm is printable ASCII without quotes, not {realm!r}")
        self.name: str = name
        self._verifier = verifier
        self._realm = realm

    def challenge(self, error: str | None = None) -> str:
        """What `WWW-Authenticate` says; without credentials there is no error code."""
        parts = [
            *([] if self._realm is None else [f'realm="{self._realm}"']),
            *([] if error is None else [f'error="{error}"']),
        ]
        return f"Bearer {', '.join(parts)}" if parts else "Bearer"

    def openapi(self) -> dict[str, Any]:
        """The security scheme as OpenAPI has it."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}

    async def read(self, headers: Mapping[str, str]) -> Caller | None:
        """Who calls, as the token says; None without a bearer token.

        Raises:
            UnauthenticatedError: The token is refused, or there are several.
        """
        text = headers.get("authorization")
        if text is None:
            return None
        scheme, _, token = text.strip().partition(" ")
        if scheme.lower() != "bearer":
            return None
        token = token.strip()
        if not token or "," in token or " " in token:
            raise self._refused("the Authorization header holds no bearer token")
        try:
            found = self._verifier.verify(token)
            verified = await found if inspect.isawaitable(found) else found
            ctx: AuthContext = verified.auth_ctx
        except Exception as error:
            if error_code_for(error).http_status != _UNAUTHENTICATED:
                raise
            public = getattr(error, "public_message", None)
            message = public if isinstance(public, str) else "The token is not valid."
            raise self._refused(message) from error
        return Caller(ctx, claims=verified.extra_claims)

    def _refused(self, message: str) -> UnauthenticatedError:
        return UnauthenticatedError(
            message, headers=[("www-authenticate", self.challenge("invalid_token"))]
        )


class ApiKeys:
    """Keys in a header of their own.

    Args:
        find: An async function that returns who a key is of, or None. It looks for a hash of the
            key, so that nobody who reads the store can call.
        header: The header.
        name: The name of the scheme in the documentation.
    """

    def __init__(
        self,
        find: Callable[[str], Awaitable[Caller | AuthContext | None]],
        *,
        header: str = "X-API-Key",
        name: str = "apiKey",
    ) -> None:
        self.name: str = name
        self._find = find
        self._header = header

    def challenge(self, error: str | None = None) -> str | None:
        """Return None: no authentication scheme of HTTP is called so."""
        del error
        return None

    def openapi(self) -> dict[str, Any]:
        """The security scheme as OpenAPI has it."""
        return {"type": "apiKey", "in": "header", "name": self._header}

    async def read(self, headers: Mapping[str, str]) -> Caller | None:
        """Who calls, as the key says; None without a key.

        Raises:
            UnauthenticatedError: The key is nobody's.
        """
        key = headers.get(self._header.lower())
        if key is None:
            return None
        found = None
        if key and len(key) <= _LONGEST_KEY and key.isascii() and key.isprintable():
            found = await self._find(key)
        if found is None:
            raise UnauthenticatedError(f"the key in {self._header} is not valid")
        return Caller(found) if isinstance(found, AuthContext) else found


class Callers:
    """Finds out who calls, by any of several schemes, and for which tenant. Fails closed.

    Args:
        schemes: The schemes, in the order in which they are asked. A request with credentials of
            two is refused.
        tenant: Where the tenant stands; None where the service has none.
        anonymous: Whether a request without credentials is one of nobody; else it is refused.
    """

    def __init__(
        self,
        *schemes: Scheme,
        tenant: TenantOf | None = None,
        anonymous: bool = False,
    ) -> None:
        self._schemes: Sequence[Scheme] = schemes
        self._tenant = tenant
        self._anonymous = anonymous

    @property
    def schemes(self) -> dict[str, dict[str, Any]]:
        """The security schemes by name, for `openapi_document`."""
        return {scheme.name: scheme.openapi() for scheme in self._schemes}

    async def identify(self, headers: Mapping[str, str]) -> Caller:
        """Who sends a request with these headers, by names in small letters.

        Raises:
            UnauthenticatedError: There are no credentials, wrong ones, or those of two schemes.
            TenantRefusedError: There is no tenant, or one that the caller is not of.
        """
        try:
            found = await self._read(headers)
        except UnauthenticatedError as error:
            error.headers = error.headers or self._challenges()
            raise
        tenant = found.tenant
        if tenant is None and self._tenant is not None:
            tenant = self._tenant.read(headers, found.ctx, found.claims)
        return Caller(found.ctx, tenant, found.claims, found.scheme)

    def forbidding(self, caller: Caller) -> str | None:
        """What `WWW-Authenticate` says to a caller who may not do what was asked for.

        A bearer token is told `insufficient_scope` (RFC 6750); other schemes have no word for it.
        """
        for scheme in self._schemes:
            if scheme.name == caller.scheme:
                return scheme.challenge("insufficient_scope")
        return None

    async def _read(self, headers: Mapping[str, str]) -> Caller:
        found: Caller | None = None
        for scheme in self._schemes:
            caller = await scheme.read(headers)
            if caller is None:
                continue
            if found is not None:
                raise UnauthenticatedError("the request has credentials of several schemes")
            found = Caller(caller.ctx, caller.tenant, caller.claims, scheme.name)
        if found is None:
            if not self._anonymous:
                raise UnauthenticatedError("the request says nothing of who sends it")
            return Caller()
        return found

    def _challenges(self) -> tuple[tuple[str, str], ...]:
        found = [scheme.challenge() for scheme in self._schemes]
        named = [each for each in found if each is not None]
        return tuple(("www-authenticate", each) for each in named or ["ApiKey"])
