"""The dead letters of one queue as they lie in Redis."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from varco_redis._dead_letter_scripts import SET_ASIDE
from varco_redis._earlier_letters import EarlierLetters
from varco_redis._errors import refusals_as_data_errors
from varco_redis._letters import Kind, decoded, tell_damaged, written_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from varco_events import DeadLetterEntry, EventSerializer
    from varco_redis._link import Link, Script

_NAMES = ("order", "free", "taken", "letters", "of", "kinds", "", "last")


@dataclass(frozen=True, slots=True)
class Kept:
    """A dead letter, its number, and whether somebody has it leased."""

    entry: DeadLetterEntry
    number: int
    in_hand: bool


class KeptLetters:
    """Runs the scripts of dead letters, and reads what they answer."""

    def __init__(self, link: Link, base: str, serializer: EventSerializer | None) -> None:
        self._link = link
        self._base = base
        self._serializer = serializer
        self._keys = [base + name for name in _NAMES]
        self._earlier = EarlierLetters(link, base, self._keys)
        self._damaged = base + "damaged"
        self.last = base + "last"

    async def run(self, script: Script, *args: Any, also: Sequence[str] = ()) -> Any:
        """The answer of a script, with more keys than it shares with the others."""
        with refusals_as_data_errors(self._keys[0]):
            return await self._link.run(script, (*self._keys, *also), *args)

    async def push(self, script: Script, most: int, entry: DeadLetterEntry, data: bytes) -> Any:
        """The answer of the script that keeps a dead letter."""
        kind, what = Kind.of(entry).written()
        key = written_key(entry.envelope.key)
        args = (most, str(entry.entry_id), data, kind, what, key)
        return await self.run(script, *args, also=[self._earlier.data])

    async def run_once(self, script: Script, *args: Any) -> Any:
        """The answer of a script that knows it again when it is repeated after a lost answer."""
        call = f"{self._base}call:{os.urandom(16).hex()}"
        return await self.run(script, *args, also=[call])

    @property
    def patience(self) -> int:
        """Milliseconds within which a call may be repeated."""
        return milliseconds(self._link.settings.timeout)

    async def call(self, command: str, key: str, *args: Any) -> Any:
        """The answer of a command."""
        with refusals_as_data_errors(key):
            return await self._link.call(command, key, *args)

    async def count(self) -> int:
        """How many are kept."""
        with refusals_as_data_errors(self._base):
            counts = await self._link.pipeline(
                [("HLEN", name) for name in (self._base + "letters", self._earlier.data)]
            )
            return sum(self._link.all_right(counts))

    async def readable(self, found: Sequence[Any]) -> list[Kept]:
        """What a script has shown; what cannot be read is set aside."""
        kept: list[Kept] = []
        for name, data, number, in_hand in zip(*(found[n::4] for n in range(4)), strict=True):
            try:
                entry = decoded(name, data, self._serializer)
            except Exception as error:  # noqa: BLE001 # whatever bytes of others lead to
                await self.run(SET_ASIDE, name, also=[self._damaged])
                tell_damaged(name, self._damaged, error)
            else:
                kept.append(Kept(entry, int(float(number)), bool(in_hand)))
        return kept

    async def take_over(self) -> None:
        """Take over what processes of the version before this one have put aside, or do still."""
        await self._earlier.take_over()


def milliseconds(seconds: float) -> int:
    """What Redis takes for so many seconds."""
    return max(1, math.ceil(seconds * 1000))
