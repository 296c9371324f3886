"""For the tests of caches: the contract every backend keeps, a clock, and a cache that fails."""

from varco_cache.testing._contract import CacheContract
from varco_cache.testing._doubles import Fault, FaultyCache, ManualClock

__all__: tuple[str, ...] = ("CacheContract", "Fault", "FaultyCache", "ManualClock")
