"""Keys from an identity provider, over HTTP."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, cast

from varco_auth_jwt._errors import InvalidKeyError, KeyLoadError, shown
from varco_auth_jwt._http import check_url, fetch_json, is_local_http
from varco_auth_jwt._jwk_set import JsonWebKeySet, read_key, usable
from varco_auth_jwt._keycache import KeyCache, check_seconds

if TYPE_CHECKING:
    from varco_auth_jwt._claims import Clock
    from varco_auth_jwt._jwk import JsonWebKey
    from varco_auth_jwt._states import FetchState

_MAX_KEYS: Final = 100


class JwksUrlSource:
    """The JWK set at a URL; belongs to the tasks of one event loop.

    Args:
        url: https, or http to this machine.
        cache_ttl: How long keys are served without asking again; a revoked key is gone by then.
        min_refresh_interval: How often an unknown `kid`, or a failure, may lead to a fetch.
        timeout: For a whole fetch.
        max_stale: How long after `cache_ttl` the last keys are served if the provider is down.
        clock: Monotonic seconds.

    Raises:
        KeyLoadError: keys may not be fetched from `url`.
        AuthorityError: one of the others is no number of seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        cache_ttl: float = 3600.0,
        min_refresh_interval: float = 10.0,
        timeout: float = 10.0,
        max_stale: float = 3600.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self._url = check_url(url)
        check_seconds(timeout, f"the timeout of {url}", positive=True)
        self._timeout = timeout
        self._cache = KeyCache(
            self._fetch,
            name=url,
            ttl=cache_ttl,
            cooldown=min_refresh_interval,
            max_stale=max_stale,
            clock=clock,
        )

    @property
    def source_id(self) -> str:
        """The URL."""
        return self._url

    @property
    def is_stale(self) -> bool:
        """Whether there are no keys younger than `cache_ttl`."""
        return self._cache.is_stale

    async def load(self) -> JsonWebKeySet:
        """The keys, fetched if they are older than `cache_ttl`."""
        return await self._cache.load()

    async def refresh(self) -> JsonWebKeySet:
        """The keys, fetched anew if `min_refresh_interval` allows."""
        return await self._cache.refresh()

    async def renew(self) -> None:
        """Fetch ahead of expiry, if it is time; a running registry calls it."""
        await self._cache.renew()

    def fetch_state(self) -> FetchState:
        """How they were fetched last, for whoever operates it."""
        return self._cache.state()

    async def _fetch(self) -> JsonWebKeySet:
        return public_keys(await fetch_json(self._url, timeout=self._timeout), self._url)


class OidcDiscoverySource:
    """The keys of an OpenID Connect provider, found by its discovery document.

    The document must name exactly `issuer_url` as its issuer. It is read with every fetch, so that
    a provider may move its keys; one on https leads to https only. For the rest see
    `JwksUrlSource`.
    """

    def __init__(
        self,
        issuer_url: str,
        *,
        cache_ttl: float = 3600.0,
        min_refresh_interval: float = 10.0,
        timeout: float = 10.0,
        max_stale: float = 3600.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self._issuer = check_url(issuer_url)
        check_seconds(timeout, f"the timeout of {issuer_url}", positive=True)
        self._url = f"{issuer_url.removesuffix('/')}/.well-known/openid-configuration"
        self._timeout = timeout
        self._cache = KeyCache(
            self._fetch,
            name=issuer_url,
            ttl=cache_ttl,
            cooldown=min_refresh_interval,
            max_stale=max_stale,
            clock=clock,
        )

    @property
    def source_id(self) -> str:
        """The URL of the issuer."""
        return self._issuer

    @property
    def issuer(self) -> str:
        """Whose keys these are."""
        return self._issuer

    @property
    def is_stale(self) -> bool:
        """Whether there are no keys younger than `cache_ttl`."""
        return self._cache.is_stale

    async def load(self) -> JsonWebKeySet:
        """The keys, fetched if they are older than `cache_ttl`."""
        return await self._cache.load()

    async def refresh(self) -> JsonWebKeySet:
        """The keys, fetched anew if `min_refresh_interval` allows."""
        return await self._cache.refresh()

    async def renew(self) -> None:
        """Fetch ahead of expiry, if it is time; a running registry calls it."""
        await self._cache.renew()

    def fetch_state(self) -> FetchState:
        """How they were fetched last, for whoever operates it."""
        return self._cache.state()

    async def _fetch(self) -> JsonWebKeySet:
        document = await fetch_json(self._url, timeout=self._timeout)
        if document.get("issuer") != self._issuer:
            raise KeyLoadError(
                f"{self._url} says its issuer is {shown(document.get('issuer'))}, and not"
                f" {self._issuer}"
            )
        url = document.get("jwks_uri")
        if not isinstance(url, str):
            raise KeyLoadError(f"{self._url} names no 'jwks_uri'")
        if is_local_http(check_url(url)) and not is_local_http(self._issuer):
            raise KeyLoadError(f"{self._url} is of https, and leads to {shown(url)}, which is not")
        return public_keys(await fetch_json(url, timeout=self._timeout), url)


def public_keys(document: dict[str, Any], where: str) -> JsonWebKeySet:
    """The keys of a published set that may be used; the others are logged and left out.

    Raises:
        KeyLoadError: it is no JWK set, or an absurdly long one.
    """
    listed = document.get("keys")
    if not isinstance(listed, list) or len(cast("list[object]", listed)) > _MAX_KEYS:
        raise KeyLoadError(f"{shown(where)} holds no list of at most {_MAX_KEYS} 'keys'")
    keys, _ = usable(cast("list[object]", listed), _public_key, shown(where))
    return JsonWebKeySet(tuple(keys))


def _public_key(raw: object) -> JsonWebKey:
    key = read_key(raw)
    if key.is_private:
        kind = "symmetric" if key.kty == "oct" else "private"
        raise InvalidKeyError(f"key {shown(key.kid)} is {kind}, and everybody can read it here")
    key.native()
    return key
