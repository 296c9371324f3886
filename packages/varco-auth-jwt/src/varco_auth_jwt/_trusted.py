"""One issuer that is trusted, and the keys that it has now."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from varco_auth_jwt._algorithms import algorithm_named
from varco_auth_jwt._errors import AuthJwtError, KeyLoadError
from varco_auth_jwt._jwk_set import JsonWebKeySet, usable
from varco_auth_jwt._keyring import KeyRing
from varco_auth_jwt._prepare import prepare
from varco_auth_jwt._states import IssuerState, KeyState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from varco_auth_jwt._jwk import JsonWebKey
    from varco_auth_jwt._prepare import PreparedKey
    from varco_auth_jwt._sources import IssuerSource
    from varco_auth_jwt._states import FetchState


class TrustedIssuerEntry:
    """An issuer, where its keys come from, and the keys it had when last looked at."""

    def __init__(
        self,
        label: str,
        iss: str,
        source: IssuerSource,
        *,
        algorithms: Collection[str] | None = None,
    ) -> None:
        self.label = label
        self.iss = iss
        self.source = source
        # Looked up now: a key that fits none is left out later, and a wrong name would let all out.
        self._algorithms = algorithms and tuple(algorithm_named(one).name for one in algorithms)
        # The ring is made of the keys; both change together, between the awaits of one event loop.
        self._keys = JsonWebKeySet()
        self._ring = KeyRing(())

    async def load(self) -> KeyRing:
        """The key ring of the keys as of now.

        Raises:
            AuthorityError: they cannot be had.
        """
        return self.ring(await _asked(self.source.load, self.label))

    async def refresh(self) -> KeyRing:
        """As `load`, of keys asked for anew."""
        return self.ring(await _asked(self.source.refresh, self.label))

    async def renew(self) -> None:
        """Have the source fetch ahead of expiry, if it can, and look at its keys."""
        renew: Callable[[], Awaitable[None]] | None = getattr(self.source, "renew", None)
        if renew is not None:
            await _asked(renew, self.label)
        await self.load()

    @property
    def keys(self) -> JsonWebKeySet:
        """The keys when last looked at."""
        return self._keys

    def state(self) -> IssuerState:
        """What may be told of it and its keys when last looked at; asks nobody."""
        of_authority: Callable[[], IssuerState] | None = getattr(self.source, "state", None)
        if of_authority is not None:
            return replace(of_authority(), label=self.label)
        fetched: Callable[[], FetchState] | None = getattr(self.source, "fetch_state", None)
        return IssuerState(
            label=self.label,
            issuer=self.iss,
            source=self.source.source_id,
            keys=tuple(KeyState(kid=one.kid, algorithm=one.alg) for one in self._keys.keys),
            fetch=None if fetched is None else fetched(),
        )

    def find_key(self, kid: str) -> JsonWebKey | None:
        """The key of that name, if it was there when last looked at."""
        return self._keys.find_by_kid(kid)

    def ring(self, keys: JsonWebKeySet) -> KeyRing:
        """The key ring of these keys: of those among them that may verify signatures."""
        if keys is not self._keys:
            if not isinstance(cast("object", keys), JsonWebKeySet):
                raise KeyLoadError(
                    f"the source of {self.label} gave {type(keys).__name__} for keys"
                )
            prepared, _ = usable(keys.keys, self._prepared, self.label, level=logging.INFO)
            self._ring = KeyRing(prepared)
            self._keys = keys
        return self._ring

    def _prepared(self, key: JsonWebKey) -> PreparedKey:
        return prepare(key, "verify", algorithms=self._algorithms)

    def __repr__(self) -> str:
        return f"TrustedIssuerEntry({self.label!r}, {self.iss!r}, {self.source.source_id!r})"


async def _asked[T](ask: Callable[[], Awaitable[T]], label: str) -> T:
    try:
        return await ask()
    except AuthJwtError:
        raise
    except Exception as error:
        raise KeyLoadError(f"the source of {label} failed ({type(error).__name__})") from error
