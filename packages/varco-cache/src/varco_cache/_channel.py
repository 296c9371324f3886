"""Where invalidations are told, unless somebody says otherwise."""

INVALIDATION_CHANNEL = "varco.cache.invalidations"
