"""Retry, circuit breaker, timeout, bulkhead, rate limit, hedge and fallback."""

__all__: tuple[str, ...] = ()
