"""What a contract of failures works on: a store, and what fails into it and comes out of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from varco_events._envelope import EventEnvelope
from varco_events._event_serializer import JsonEventSerializer
from varco_events.testing._events import ContractDetailEvent, ContractEvent

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from uuid import UUID

    from varco_events._failure_store import FailureStore


class FailureBench(ABC):
    """A store, and what fails into it and comes out of it."""

    store: FailureStore

    @abstractmethod
    async def put(self, envelope: EventEnvelope, error: str) -> UUID:
        """Have an event fail with "class: message", and say under which id it waits."""

    async def grasp(self) -> tuple[Collection[UUID], Collection[str | None]]:
        """Take some in hand as a relay, a poller or a redrive would, until `let_go`.

        Returns:
            The ids of the failures that are then in hand, and the keys behind which others wait.
        """
        return (), ()

    async def let_go(self) -> None:  # noqa: B027  # where nothing can be taken
        """Have what is in hand wait again, as if nothing had been tried."""

    @abstractmethod
    async def sent(self) -> list[EventEnvelope]:
        """What is tried again, in order, since the last call."""

    async def fail(
        self,
        number: int,
        *,
        key: str | None = None,
        channel: str = "contract",
        error: str = "ValueError: no",
        detail: bool = False,
    ) -> UUID:
        """Have a numbered event fail."""
        cls = ContractDetailEvent if detail else ContractEvent
        event = cls(number=number)
        return await self.put(EventEnvelope.of(event, channel=channel, key=key), error)


def numbers(envelopes: Iterable[EventEnvelope]) -> list[int]:
    """The numbers of contract events."""
    read = JsonEventSerializer().deserialize
    return [int(read(one.payload).model_dump()["number"]) for one in envelopes]
