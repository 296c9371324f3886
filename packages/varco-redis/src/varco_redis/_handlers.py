"""Brings one event to the handlers of this process, and tells which of them failed."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from varco_events import (
    DeadLetterEntry,
    Event,
    EventDecodeError,
    EventSerializer,
    InMemoryEventBus,
    RawEvent,
    Subscription,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from varco_events import EventMiddleware

logger = logging.getLogger("varco_redis.bus")

# Names the dead letters: the same event and handler give the same id, however often it is pushed.
_NAMESPACE = UUID("0b1c6c7e-7a52-5d0a-9f7d-6b6b8a3f2f10")
_failures: ContextVar[dict[str, Exception]] = ContextVar("varco_redis_failures")


@dataclass(slots=True, eq=False)
class Received:
    """An event as it came from Redis."""

    place: str
    """Where it lies; unique, for ever."""
    channel: str
    payload: bytes
    key: bytes = b""
    handler: str | None = None
    claimed: bool = False
    """Whether a process had it that may have died of it."""
    attempts: int = 0
    first_failed_at: datetime | None = None
    event: Event | None = None


class Handlers:
    """The subscriptions of this process.

    A handler that succeeded is not called again for one that failed beside it, as long as this
    process remembers.
    """

    def __init__(self, serializer: EventSerializer, middleware: Iterable[EventMiddleware]) -> None:
        self._serializer = serializer
        self._bus = InMemoryEventBus(middleware=middleware)
        self._subscriptions: dict[Subscription, None] = {}

    def add(
        self,
        event_type: type[Event] | str,
        handler: Callable[..., Any],
        *,
        channel: str,
        condition: Callable[[Any], bool] | None,
        priority: int,
    ) -> Subscription:
        """Subscribe a handler."""
        plain = Subscription(event_type, handler, channel=channel)

        async def noting(event: Event) -> None:
            try:
                await plain.deliver(event)
            except Exception as error:
                _failures.get()[plain.name] = error
                raise

        noting.__module__, noting.__qualname__ = "", plain.name
        subscription = self._bus.subscribe(
            event_type, noting, channel=channel, filter=condition, priority=priority
        )
        self._subscriptions[subscription] = None
        return subscription

    def channels(self) -> set[str]:
        """The channels of living subscriptions; "*" stands for all."""
        for one in [one for one in self._subscriptions if one.is_cancelled]:
            del self._subscriptions[one]
        return {one.channel for one in self._subscriptions}

    async def handle(self, received: Received) -> dict[str, Exception]:
        """Call the handlers; what failed by name, under "" when it was none of them."""
        failures: dict[str, Exception] = {}
        token = _failures.set(failures)
        try:
            event = received.event
            if event is None:
                event = received.event = self._decoded(received.payload)
            if event.__class__ is RawEvent and received.handler is None:
                await self._bus.publish(event, channel=received.channel)
            else:
                await self._bus.deliver(event, channel=received.channel, handler=received.handler)
        except Exception as error:  # noqa: BLE001 # whatever a handler raises
            if not failures:
                failures[received.handler or ""] = error
        finally:
            _failures.reset(token)
        return failures

    def _decoded(self, payload: bytes) -> Event:
        try:
            return self._serializer.deserialize(payload)
        except EventDecodeError:
            raise
        except Exception as error:
            raise EventDecodeError(f"not an event: {error!r}") from error

    def dead_letters(
        self, received: Received, failures: dict[str, Exception], now: datetime
    ) -> list[DeadLetterEntry]:
        """One for each handler that failed."""
        event = received.event or RawEvent(
            raw_type="unreadable",
            payload=received.payload,
            event_id=uuid5(_NAMESPACE, received.place),
        )
        return [
            DeadLetterEntry(
                entry_id=uuid5(_NAMESPACE, f"{received.place} {name}"),
                event=event,
                channel=received.channel,
                handler_name=name,
                error_type=type(error).__qualname__,
                error_message=str(error),
                attempts=received.attempts,
                first_failed_at=received.first_failed_at or now,
                last_failed_at=now,
            )
            for name, error in failures.items()
        ]
