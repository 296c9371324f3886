"""The settings of a `RedisCache`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from varco_redis._errors import RedisConfigError
from varco_redis._settings import RedisSettings

_FEWEST_GENERATIONS = 16


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RedisCacheSettings(RedisSettings):
    """Where the cache is and its habits.

    Attributes:
        timeout: Seconds for one operation.
        key_prefix: The beginning of every key in Redis; one cache for each.
        default_ttl: Seconds an entry lives that is stored without a `ttl`; None for no end.
        compress_above: Values of more bytes are stored compressed; None for never.
        max_value_bytes: A stored value that would take more bytes is not read.
        lease: Seconds after which the load of a process that died is begun by another.
        load_wait: Most seconds to wait for another process that loads a key; then it is loaded
            here too.
        max_generations: How many invalidations of tags are remembered; entries that were stored
            before as many others were invalidated are forgotten with the oldest.
        keep_across_restarts: Keep entries when Redis restarts or fails over. It may have lost the
            last invalidations then, so that by default all entries are forgotten.
        shards: Into how many parts the keys are divided, each of which lies on one server of a
            cluster; every invalidation of a tag is told to each. Always 1 without a cluster.
    """

    timeout: float = 1.0
    connect_timeout: float = 1.0
    key_prefix: str = "varco:cache:"
    default_ttl: float | None = None
    compress_above: int | None = 8192
    max_value_bytes: int = 64 * 2**20
    lease: float = 10.0
    load_wait: float = 30.0
    max_generations: int = 100_000
    keep_across_restarts: bool = False
    shards: int = 16

    def __post_init__(self) -> None:
        # Not super(): a class with slots is made anew by the decorator.
        RedisSettings.__post_init__(self)
        self.check_above_zero("compress_above", "max_value_bytes", "lease", "load_wait", "shards")
        if self.default_ttl != math.inf:
            self.check_above_zero("default_ttl")
        if not self.key_prefix:
            raise RedisConfigError("key_prefix", self.key_prefix, "give the cache a name")
        if self.is_cluster and {"{", "}"} & set(self.key_prefix):
            raise RedisConfigError(
                "key_prefix", self.key_prefix, "no braces on a cluster: the cache adds its own"
            )
        if self.max_generations < _FEWEST_GENERATIONS:
            raise RedisConfigError(
                "max_generations", self.max_generations, f"{_FEWEST_GENERATIONS} or more"
            )
