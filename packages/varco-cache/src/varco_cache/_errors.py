"""What can go wrong with a cache.

CacheError
├── CacheConfigError (ValueError)    a setting or an argument makes no sense
├── CacheKeyError (TypeError)        a key cannot be made, or is of the wrong kind
├── CacheUsageError (TypeError)      a decorator is put where it cannot work
├── CacheDeadlockError               a loader waits for itself, perhaps by way of others
└── CacheWaitTimeoutError            the load of another task did not end while one waited for it
"""

from __future__ import annotations

from typing import ClassVar


class CacheError(Exception):
    """Base of every error of varco-cache."""

    code: ClassVar[str] = "cache.error"
    http_status: ClassVar[int] = 500


class CacheConfigError(CacheError, ValueError):
    """A setting or an argument that makes no sense."""

    code: ClassVar[str] = "cache.config"

    def __init__(self, name: str, value: object, remedy: str) -> None:
        super().__init__(name, value, remedy)
        self.name = name
        self.value = value
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.name}={self.value!r}: {self.remedy}"


class CacheKeyError(CacheError, TypeError):
    """A key that cannot be made from a value, or that the cache cannot hold."""

    code: ClassVar[str] = "cache.key"

    def __init__(self, what: str, value: object, remedy: str) -> None:
        super().__init__(what, value, remedy)
        self.what = what
        self.value = value
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what} of type {type(self.value).__qualname__!r}: {self.remedy}"


class CacheUsageError(CacheError, TypeError):
    """A decorator on something it cannot work with."""

    code: ClassVar[str] = "cache.usage"


class CacheDeadlockError(CacheError):
    """A loader asked for what waits for it: the key it is loading, or one whose loader asked so."""

    code: ClassVar[str] = "cache.deadlock"

    def __init__(self, key: object) -> None:
        super().__init__(key)
        self.key = key

    def __str__(self) -> str:
        return (
            f"the load of key {self.key!r} waits for the loader that asks for it, so neither would "
            f"end; call the undecorated function inside it"
        )


class CacheWaitTimeoutError(CacheError):
    """The load of another task did not end within the `wait_timeout` of the cache."""

    code: ClassVar[str] = "cache.wait_timeout"
    http_status: ClassVar[int] = 503

    def __init__(self, key: object, seconds: float) -> None:
        super().__init__(key, seconds)
        self.key = key
        self.seconds = seconds

    def __str__(self) -> str:
        return (
            f"the load of key {self.key!r} by another task did not end in {self.seconds:g} s of "
            f"waiting for it; if its loader asks for the key by loop.run_in_executor, call "
            f"the undecorated function there; if it is only slow, raise the cache's wait_timeout"
        )
