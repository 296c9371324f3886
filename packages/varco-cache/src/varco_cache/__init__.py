"""Async cache with layers, tags, single flight and scan-resistant eviction."""

__all__: tuple[str, ...] = ()
