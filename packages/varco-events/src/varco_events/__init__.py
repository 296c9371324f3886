"""Events with retries, dead letters and a transactional outbox."""

__all__: tuple[str, ...] = ()
