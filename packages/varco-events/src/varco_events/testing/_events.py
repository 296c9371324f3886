"""The events that the contract suites send around."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from varco_events._event import Event

if TYPE_CHECKING:
    from collections.abc import Callable


class ContractEvent(Event):
    """Something numbered happened to something named."""

    __event_type__ = "varco.contract"

    number: int
    name: str = ""

    def event_key(self) -> str | None:
        """The name."""
        return self.name or None


class ContractDetailEvent(ContractEvent):
    """A kind of `ContractEvent`."""

    __event_type__ = "varco.contract.detail"


async def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Return when `condition` is true; fail when it is not in time."""
    with anyio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110  # what is waited for sets no event
            await anyio.sleep(0.001)
