"""Dead letters in Redis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from varco_events import (
    AbstractDeadLetterQueue,
    DeadLetterEntry,
    DeadLetterQueueFullError,
    EventSerializer,
    takes_former_names,
)
from varco_redis._dead_letter_scripts import FIND, NACK, POP, PUSH, SETTLE
from varco_redis._errors import RedisConfigError
from varco_redis._kept_letters import KeptLetters, milliseconds
from varco_redis._letters import encoded
from varco_redis._part import RedisPart
from varco_redis._settings import RedisSettings

if TYPE_CHECKING:
    from uuid import UUID

    from varco_events import AbstractEventBus, DeadLetterFailureStore


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RedisDeadLetterQueueSettings(RedisSettings):
    """Where the queue is.

    Attributes:
        key_prefix: The beginning of its keys in Redis.
        name: One queue for each.
        max_size: A push beyond it is refused; None for no limit.
    """

    key_prefix: str = "varco:"
    name: str = "dead-letters"
    max_size: int | None = None

    def __post_init__(self) -> None:
        RedisSettings.__post_init__(self)
        self.check_above_zero("max_size")
        if not self.name:
            raise RedisConfigError("name", self.name, "give the queue a name")


class RedisDeadLetterQueue(RedisPart, AbstractDeadLetterQueue):
    """Failed events in Redis; every operation is one step that no crash can cut in two.

    Leases are measured with Redis's clock. An entry that cannot be read is set aside in the hash
    `...damaged`, logged, and holds up no other. Safe for any number of processes.
    """

    def __init__(
        self,
        settings: RedisDeadLetterQueueSettings | None = None,
        *,
        serializer: EventSerializer | None = None,
    ) -> None:
        self.settings: RedisDeadLetterQueueSettings = settings or RedisDeadLetterQueueSettings()
        super().__init__(self.settings)
        base = f"{{{self.settings.key_prefix}{self.settings.name}}}:"
        self._letters = KeptLetters(self._link, base, serializer)

    async def push(self, entry: DeadLetterEntry) -> None:
        """Append `entry`; an entry id that is there already is kept once.

        Raises:
            DeadLetterQueueFullError: The queue holds `max_size` entries.
        """
        limit = self.settings.max_size or 0
        if not await self._letters.push(PUSH, limit, entry, encoded(entry)):
            raise DeadLetterQueueFullError(entry.entry_id, limit)

    @takes_former_names(visibility_timeout="lease")
    async def pop_batch(self, *, limit: int = 10, lease: float = 30.0) -> list[DeadLetterEntry]:
        """Lease the oldest entries that are visible, for `lease` seconds."""
        if limit < 1:
            return []
        letters = self._letters
        await letters.take_over()
        life, claim_id = milliseconds(lease), uuid4()
        found = await letters.run_once(POP, limit, life, letters.patience, claim_id.hex)
        return [one.entry.of_claim(claim_id) for one in await letters.readable(found)]

    async def ack(self, entry_id: UUID) -> None:
        """Remove an entry for good; an unknown id is no error."""
        await self._letters.run(SETTLE, 1, str(entry_id))

    async def nack(self, entry_id: UUID, *, claim_id: UUID | None = None) -> None:
        """Make a leased entry visible again, at its old place; an unknown id is no error.

        Nothing happens to one that another has leased since the claim.
        """
        claim = "" if claim_id is None else claim_id.hex
        await self._letters.run(NACK, str(entry_id), claim)

    async def count(self) -> int:
        """How many entries are kept, leased ones included."""
        return await self._letters.count()

    async def peek(self, *, limit: int = 10) -> list[DeadLetterEntry]:
        """The oldest entries, leased ones included, without leasing them."""
        if limit < 1:
            return []
        await self._letters.take_over()
        found = await self._letters.run(FIND, "", "-inf", "+inf", limit, "")
        return [one.entry for one in await self._letters.readable(found)]

    def failures(self, bus: AbstractEventBus | None = None) -> DeadLetterFailureStore:
        """The entries as operators see them: filtered, grouped, retried and discarded.

        Args:
            bus: Where retries go; without one there are none.
        """
        from varco_redis._dead_letter_failures import RedisDeadLetterFailures  # noqa: PLC0415 # when needed

        return RedisDeadLetterFailures(self, self._letters, bus)
