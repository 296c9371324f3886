"""The varco domain toolkit: every slice under one name."""

__all__: tuple[str, ...] = ()
