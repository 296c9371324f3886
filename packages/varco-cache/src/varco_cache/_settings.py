"""The settings of an in-memory cache, from code or from the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from varco_cache._checks import checked_count, checked_seconds, checked_ttl
from varco_cache._errors import CacheConfigError
from varco_cache._eviction import Eviction

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Bounds and habits of an `InMemoryCache`.

    Attributes:
        max_size: Most entries; None for no bound.
        max_bytes: Most bytes of keys and values, as `InMemoryCache(sizeof=)` estimates them.
        default_ttl: Seconds an entry lives that is stored without a `ttl`; None for no end.
        eviction: Who goes when a bound is reached.
        sweep_interval: Seconds between the background sweeps for expired entries.
    """

    max_size: int | None = None
    max_bytes: int | None = None
    default_ttl: float | None = None
    eviction: Eviction | str = Eviction.S3_FIFO
    sweep_interval: float = 1.0

    def __post_init__(self) -> None:
        checked_count(self.max_size, "max_size")
        checked_count(self.max_bytes, "max_bytes")
        checked_ttl(self.default_ttl, "default_ttl")
        checked_seconds(self.sweep_interval, "sweep_interval")

    @classmethod
    def from_env(
        cls, prefix: str = "VARCO_CACHE_", environ: Mapping[str, str] = os.environ
    ) -> Self:
        """Settings from variables such as `VARCO_CACHE_MAX_SIZE`; what is not there is default.

        Raises:
            CacheConfigError: A variable is there but is no number.
        """
        found: dict[str, object] = {}
        for name, convert in _FIELDS.items():
            text = environ.get(prefix + name.upper())
            if text:
                try:
                    found[name] = convert(text)
                except ValueError:
                    raise CacheConfigError(
                        prefix + name.upper(), text, f"must be of type {convert.__name__}"
                    ) from None
        return cls(**found)  # type: ignore[arg-type] # the names and types of _FIELDS


_FIELDS: dict[str, type[int | float | str]] = {
    "max_size": int,
    "max_bytes": int,
    "default_ttl": float,
    "eviction": str,
    "sweep_interval": float,
}
