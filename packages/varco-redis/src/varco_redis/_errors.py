"""What can go wrong with Redis.

RedisBackendError
├── RedisConfigError (ValueError)         a setting that makes no sense
├── RedisUnavailableError                 no answer within the time limit, or none at all
│                                         (a BusUnavailableError: relays wait and go on)
├── RedisBackPressureError                a stream is full of what its groups have not read
├── RedisChannelRefusedError              an ACL forbids a channel
│                                         (both ChannelUnavailableErrors: other channels go on)
├── RedisPoisonError                      an event that no process lived to handle
├── RedisDataError                        Redis holds something else under a key of ours
├── RedisLockLostError                    a lock was not ours any more
└── RedisLockTimeoutError (TimeoutError)  a lock could not be had in time
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, ClassVar

from redis.exceptions import ResponseError

from varco_events import BusUnavailableError, ChannelUnavailableError

if TYPE_CHECKING:
    from collections.abc import Generator


class RedisBackendError(Exception):
    """The base of every error of varco-redis."""

    code: ClassVar[str] = "redis.error"
    http_status: ClassVar[int] = 500


class RedisConfigError(RedisBackendError, ValueError):
    """A setting that makes no sense."""

    code = "redis.config"

    def __init__(self, name: str, value: object, remedy: str) -> None:
        super().__init__(name, value, remedy)
        self.name = name
        self.value = value
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.name}={self.value!r}: {self.remedy}"


class RedisUnavailableError(RedisBackendError, BusUnavailableError):
    """Redis gave no answer; whether it did what it was told is not known."""

    code = "redis.unavailable"
    http_status = 503

    def __init__(self, server: str, command: str, reason: str) -> None:
        super().__init__(server, command, reason)
        self.server = server
        self.command = command
        self.reason = reason

    def __str__(self) -> str:
        return f"Redis at {self.server} did not answer {self.command}: {self.reason}"


class RedisBackPressureError(RedisBackendError, ChannelUnavailableError):
    """A stream holds as much unread as it may; nothing was dropped for a new event."""

    code = "redis.back_pressure"
    http_status = 503

    def __init__(self, channel: str, max_length: int) -> None:
        super().__init__(
            channel,
            f"it holds {max_length} events a partition that not every group has handled; start "
            f"more consumers, raise max_length, or delete a group that nobody runs any more with "
            f"RedisChannelManager.delete_group",
        )
        self.max_length = max_length


class RedisChannelRefusedError(RedisBackendError, ChannelUnavailableError):
    """Redis forbids what a channel needs; nothing was written."""

    code = "redis.channel_refused"
    http_status = 503

    def __init__(self, channel: str, reason: str) -> None:
        super().__init__(channel, f"{reason}; permit the keys of the bus to the ACL user")


class RedisPoisonError(RedisBackendError):
    """All attempts at an event were begun, and none came to an end: processes die of it."""

    code = "redis.poison"

    def __init__(self, attempts: int) -> None:
        super().__init__(attempts)
        self.attempts = attempts

    def __str__(self) -> str:
        return (
            f"{self.attempts} attempts were begun and the process ended in the last of them: "
            f"what handles this event kills it, or takes longer than it lives"
        )


class RedisDataError(RedisBackendError):
    """Redis holds something under a key of ours that we did not write."""

    code = "redis.data"

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(key, reason)
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        return f"key {self.key!r}: {self.reason}; delete it, or choose another key prefix"


class RedisLockLostError(RedisBackendError):
    """The lock expired, or another took it, before it was extended or released."""

    code = "redis.lock_lost"
    http_status = 409

    def __init__(self, name: str, token: int) -> None:
        super().__init__(name, token)
        self.name = name
        self.token = token

    def __str__(self) -> str:
        return f"lock {self.name!r} is not held with fencing token {self.token} any more"


class RedisLockTimeoutError(RedisBackendError, TimeoutError):
    """Another held the lock for as long as the caller would wait."""

    code = "redis.lock_timeout"
    http_status = 503

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__(name, seconds)
        self.name = name
        self.seconds = seconds

    def __str__(self) -> str:
        return f"lock {self.name!r} could not be had within {self.seconds} s"


@contextlib.contextmanager
def refusals_as_data_errors(key: Any) -> Generator[None]:
    """What Redis refuses because of what lies under `key` is raised as a `RedisDataError`."""
    try:
        yield
    except ResponseError as error:
        name = key.decode(errors="replace") if isinstance(key, bytes) else str(key)
        raise RedisDataError(name, str(error)) from error
