"""Where invalidations are told, unless somebody says otherwise."""

INVALIDATION_CHANNEL = "varco.cache.invalidations"
"""The channel on which invalidations are told, unless another is given."""
