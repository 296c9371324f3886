"""Channels that a broker has to know before they are used."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from varco_events._bus import ChannelConfig


class ChannelManager(ABC):
    """Declares, deletes and lists the channels of a broker."""

    async def start(self) -> None:  # noqa: B027  # a manager may have nothing to do
        """Connect."""

    async def stop(self, timeout: float | None = None) -> Any:  # noqa: ASYNC109, B027  # as of a bus
        """Disconnect."""

    @abstractmethod
    async def declare_channel(self, channel: str, config: ChannelConfig | None = None) -> None:
        """Make `channel` exist; declaring it again replaces its configuration."""

    @abstractmethod
    async def delete_channel(self, channel: str) -> None:
        """Make `channel` exist no more; an unknown one is no error."""

    @abstractmethod
    async def channel_exists(self, channel: str) -> bool:
        """Whether `channel` was declared."""

    @abstractmethod
    async def list_channels(self) -> list[str]:
        """The declared channels, sorted."""
