"""Sending envelopes one after the other, each key and each channel in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from varco_events._context import handling
from varco_events._envelope import HANDLER
from varco_events._errors import BusUnavailableError, ChannelUnavailableError, HeldBackError
from varco_events._event_serializer import JsonEventSerializer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from varco_events._bus import Report
    from varco_events._envelope import EventEnvelope


@dataclass(slots=True)
class HoldingBack:
    """What may not be sent any more, because something before it was not; for one batch."""

    everything: BusUnavailableError | None = None
    channels: dict[str, Exception] = field(default_factory=dict[str, Exception])
    keys: set[str] = field(default_factory=set[str])
    is_holding: bool = False

    def of(self, envelope: EventEnvelope) -> Exception | None:
        """Why `envelope` may not be sent; None when it may."""
        if self.everything is not None:
            return self.everything
        if envelope.channel in self.channels:
            return self.channels[envelope.channel]
        if envelope.key is not None and envelope.key in self.keys:
            return HeldBackError(envelope.channel, envelope.key)
        return None

    def add(self, envelope: EventEnvelope, error: Exception) -> None:
        """Note that `envelope` was not sent."""
        self.is_holding = True
        if isinstance(error, ChannelUnavailableError):
            self.channels[envelope.channel] = error
        elif isinstance(error, BusUnavailableError) and not isinstance(error, HeldBackError):
            self.everything = error
        if envelope.key is not None:
            self.keys.add(envelope.key)


async def send_each(
    deliver: Callable[..., Awaitable[None]], envelopes: Iterable[EventEnvelope], report: Report
) -> None:
    """`deliver` the event of each envelope; what fails holds back what it must."""
    held, read = HoldingBack(), JsonEventSerializer().deserialize
    for envelope in envelopes:
        error = held.of(envelope)
        if error is None:
            around = handling.get()
            token = handling.set(around)
            try:
                event = envelope.event or read(envelope.payload)
                handling.set((around[0], envelope.channel, envelope, event, None, around[5]))
                handler = envelope.headers.get(HANDLER)
                if handler is None:
                    await deliver(event, channel=envelope.channel)
                else:
                    await deliver(event, channel=envelope.channel, handler=handler)
            except Exception as failure:  # noqa: BLE001  # reported
                error = failure
            finally:
                handling.reset(token)
            if error is not None:
                held.add(envelope, error)
        report(envelope, error)
