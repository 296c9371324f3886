"""Verifies tokens of several issuers, each with keys of its own."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, cast

import anyio

from varco_auth_jwt._claims import Policies
from varco_auth_jwt._errors import (
    AlgorithmRefusedError,
    AuthJwtError,
    AuthorityError,
    IssuerNotFoundError,
    IssuerRefusedError,
    SignatureInvalidError,
    UnknownKidError,
    shown,
)
from varco_auth_jwt._issuers import issuers_in
from varco_auth_jwt._jwk_set import JsonWebKeySet
from varco_auth_jwt._keyring import (
    MAX_SIZE,
    ascii_token,
    checked_size,
    decode_part,
    split_compact,
)
from varco_auth_jwt._parser import accepted_claims
from varco_auth_jwt._revocation import refuse_revoked_async
from varco_auth_jwt._sources import AuthoritySource, IssuerSourceFactory
from varco_auth_jwt._trusted import TrustedIssuerEntry

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from types import TracebackType

    from varco_auth_jwt._authority import JwtAuthority
    from varco_auth_jwt._claims import Clock, Duration
    from varco_auth_jwt._issuers import IssuerConfig
    from varco_auth_jwt._jwk import JsonWebKey
    from varco_auth_jwt._revocation import Denylist
    from varco_auth_jwt._rotation import MultiKeyAuthority
    from varco_auth_jwt._sources import IssuerSource
    from varco_auth_jwt._states import IssuerState
    from varco_auth_jwt._token import JsonWebToken

_LOOK_EVERY: Final = 1.0
# What a token gets whose issuer has a new key: of a new name, of the same, or of none.
_MAY_BE_NEW: Final = (UnknownKidError, SignatureInvalidError, AlgorithmRefusedError)
_log = logging.getLogger("varco_auth_jwt")


class _Instances[T](Protocol):
    """What a container has of one type."""

    def resolvable(self) -> bool:
        """Whether there is one at all."""
        ...

    async def aget_all(self) -> Sequence[T]:
        """All of them."""
        ...


class TrustedIssuerRegistry:
    """Verifies the tokens of the issuers it was told to trust, each with that issuer's keys only.

    It belongs to the tasks of one event loop. Used as `async with registry:` (or between `start`
    and `stop`, on asyncio) it fetches keys ahead of their expiry in a task of its own; without, one
    of the verifying tasks does when the time comes.

    Args:
        leeway: How far the clocks of issuers and this machine may differ.
        required: Claims that must be there, besides `iss`.
        max_age: How long ago a token may have been issued.
        max_size: Longer tokens are refused before anything of them is decoded.
        denylist: Asked for every token that is good otherwise.
        clock: The time in seconds since 1970.
    """

    def __init__(
        self,
        *,
        leeway: Duration = 0,
        required: Collection[str] = ("exp",),
        max_age: Duration | None = None,
        max_size: int = MAX_SIZE,
        denylist: Denylist | None = None,
        clock: Clock = time.time,
    ) -> None:
        self._policies = Policies(leeway=leeway, required=required, max_age=max_age, clock=clock)
        self._max_size = checked_size(max_size)
        self._denylist = denylist
        # Filled before use, at start; a registration is one atomic dict operation each.
        self._by_label: dict[str, TrustedIssuerEntry] = {}
        self._by_iss: dict[str, TrustedIssuerEntry] = {}
        self._task: asyncio.Task[None] | None = None
        self._stack: AsyncExitStack | None = None

    def register(
        self,
        label: str,
        iss: str,
        source: IssuerSource,
        *,
        algorithms: Collection[str] | None = None,
    ) -> None:
        """Trust an issuer.

        Args:
            label: What you call it.
            iss: What its tokens call it.
            source: Where its keys come from.
            algorithms: What it may sign with; by default the one of each key (RS256 for an RSA key
                that names none).

        Raises:
            AuthorityError: the label or the issuer is registered already, or is none; or the source
                knows that its keys are those of another issuer.
            InvalidKeyError: one of `algorithms` is none.
        """
        for name in (label, iss):
            if not isinstance(cast("object", name), str) or not name:
                raise AuthorityError(f"a label and an issuer are strings, not {shown(name)}")
        if label in self._by_label or iss in self._by_iss:
            raise AuthorityError(f"{shown(label)} or {shown(iss)} is registered already")
        owner: object = getattr(source, "issuer", iss)
        if owner != iss:
            raise AuthorityError(
                f"the source's keys are those of {shown(owner)}, not of {shown(iss)}; if they are"
                " one issuer with two names, use JwksUrlSource"
            )
        entry = TrustedIssuerEntry(label, iss, source, algorithms=algorithms)
        self._by_label[label] = self._by_iss[iss] = entry

    def register_authority(
        self, authority: JwtAuthority | MultiKeyAuthority, *, label: str | None = None
    ) -> None:
        """Trust an authority of this process; its label is its issuer unless given."""
        source = AuthoritySource(authority, issuer=authority.issuer)
        self.register(label or authority.issuer, authority.issuer, source)

    async def load_all(self) -> None:
        """Load the keys of every issuer at once.

        Raises:
            KeysUnavailableError: some issuer's keys cannot be had; the others are loaded.
        """
        failures: list[AuthJwtError] = []

        async def load(entry: TrustedIssuerEntry) -> None:
            try:
                await entry.load()
            except AuthJwtError as error:
                failures.append(error)

        async with anyio.create_task_group() as tasks:
            for entry in list(self._by_label.values()):
                tasks.start_soon(load, entry)
        if failures:
            raise failures[0]

    async def load(self, label: str) -> None:
        """Load the keys of one issuer."""
        entry = self.entry(label)
        await entry.load()

    async def get_key(self, label: str, kid: str) -> JsonWebKey | None:
        """A key of one issuer; the same `kid` may mean another key at another issuer."""
        await self.load(label)
        return self.entry(label).find_key(kid)

    async def verify(
        self,
        token_str: str | bytes,
        *,
        audience: str | Collection[str] | None = None,
        token_type: str | Collection[str] | None = None,
    ) -> JsonWebToken:
        """Verify a token; `audience` and `token_type` as of `JwtParser`.

        Raises:
            TokenError: the token is refused.
            KeysUnavailableError: its issuer's keys cannot be had, so that it is refused for now.
            RevocationUnavailableError: the denylist cannot be asked, likewise.
        """
        policy = self._policies.of(audience, token_type)
        compact = split_compact(ascii_token(token_str, self._max_size))
        claims = decode_part(compact.payload, "payload")
        iss = claims.get("iss")
        entry = self._by_iss.get(iss) if isinstance(iss, str) else None
        if entry is None:
            raise IssuerRefusedError(f"the token was issued by {shown(iss)}, who is not trusted")
        ring = await entry.load()
        try:
            typ = ring.check(compact)
        except _MAY_BE_NEW:
            newer = await entry.refresh()
            if newer is ring:
                raise
            typ = newer.check(compact)
        token = accepted_claims(claims, typ, policy)
        if self._denylist is not None:
            await refuse_revoked_async(token, self._denylist)
        return token

    def jwks(self, label: str) -> JsonWebKeySet:
        """The public keys of one issuer when last looked at."""
        return self.entry(label).keys.public_set()

    def all_jwks(self) -> JsonWebKeySet:
        """The public keys of all issuers when last looked at; they do not say whose they are."""
        entries = self._by_label.values()
        return JsonWebKeySet(tuple(key for one in entries for key in one.keys.public_set().keys))

    def states(self) -> tuple[IssuerState, ...]:
        """What may be told of each issuer, for whoever operates it, and nothing of keys."""
        return tuple(one.state() for one in self._by_label.values())

    def entry(self, label: str) -> TrustedIssuerEntry:
        """The issuer of that label.

        Raises:
            IssuerNotFoundError: there is none.
        """
        try:
            return self._by_label[label]
        except KeyError:
            known = ", ".join(self._by_label) or "none"
            raise IssuerNotFoundError(
                f"no issuer is registered as {shown(label)}; there are: {known}", label=label
            ) from None

    @classmethod
    def from_env(cls, **options: Any) -> Self:
        """A registry of the issuers in the environment; see `AuthorizationConfig`."""
        registry = cls(**options)
        register_all(issuers_in(None), registry)
        return registry

    @classmethod
    async def from_container(
        cls,
        multi_key_authorities: _Instances[MultiKeyAuthority],
        jwt_authorities: _Instances[JwtAuthority],
        *,
        include_env: bool = True,
        **options: Any,
    ) -> Self:
        """A registry of the authorities in a container, such as providify's `Instance[...]` give.

        An authority of one key that is among those of a `MultiKeyAuthority` is registered with it.

        Args:
            multi_key_authorities: What gives the authorities of several keys.
            jwt_authorities: What gives those of one.
            include_env: Whether the issuers in the environment are trusted as well.
            options: Those of the registry.

        Raises:
            AuthorityError: two authorities are of one issuer.
        """
        registry = cls(**options)
        known: set[tuple[str, str]] = set()
        if multi_key_authorities.resolvable():
            for several in await multi_key_authorities.aget_all():
                registry.register_authority(several)
                known.update((several.issuer, kid) for kid in several.kids)
        if jwt_authorities.resolvable():
            for one in await jwt_authorities.aget_all():
                if (one.issuer, one.kid) not in known:
                    registry.register_authority(one)
        if include_env:
            register_all(issuers_in(None), registry)
        return registry

    async def run(self) -> None:
        """Keep the keys of all issuers fresh until cancelled."""
        busy: set[TrustedIssuerEntry] = set()

        async def renew(entry: TrustedIssuerEntry) -> None:
            try:
                await entry.renew()
            except AuthJwtError as error:
                _log.debug("The keys of %s cannot be refreshed: %s", entry.label, error)
            finally:
                busy.discard(entry)

        # A task for each, so that one that hangs does not keep the others from their turn.
        async with anyio.create_task_group() as tasks:
            while True:
                idle = [one for one in self._by_label.values() if one not in busy]
                busy.update(idle)
                for entry in idle:
                    tasks.start_soon(renew, entry)
                await anyio.sleep(_LOOK_EVERY)

    async def start(self) -> None:
        """Start to refresh keys ahead of their expiry; on asyncio only, elsewhere `async with`."""
        if self._task is None:
            self._task = asyncio.create_task(self.run())

    async def stop(self) -> None:
        """Stop what `start` started."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            tasks = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(tasks.cancel_scope.cancel)
            tasks.start_soon(self.run)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        stack, self._stack = self._stack, None
        if stack is not None:
            # Not told of the body's exception, which a task group would wrap into a group.
            await stack.__aexit__(None, None, None)


def register_all(issuers: Iterable[IssuerConfig], registry: TrustedIssuerRegistry) -> None:
    """Make a registry trust issuers."""
    for one in issuers:
        source = IssuerSourceFactory.from_string(one.url_value, algorithm=one.algorithm or "RS256")
        algorithms = (one.algorithm,) if one.algorithm else None
        registry.register(one.label, one.iss, source, algorithms=algorithms)
