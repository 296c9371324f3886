"""The processes and stores of one scenario, and where each event is in them."""

# ruff: noqa: S101  # these are tests: they assert

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

import anyio

from varco_events._bus import EventMiddleware
from varco_events._consumer import EventConsumer, listen
from varco_events._deduplication import AbstractDeduplicator, InMemoryDeduplicator
from varco_events._dlq import RELAY_HANDLER
from varco_events._errors import BusUnavailableError
from varco_events._inbox_poller import InboxPoller
from varco_events._middleware import RetryMiddleware
from varco_events._outbox import OutboxEntry
from varco_events._relay import OutboxRelay
from varco_events.testing._fates import (
    UNREADABLE,
    Conserved,
    Fate,
    envelope_of,
    unliftable,
)
from varco_events.testing._lives import (
    Killed,
    Life,
    deduplicator_of,
    inbox_of,
    outbox_of,
    queue_of,
)
from varco_events.testing._scenarios import (
    KINDS,
    Mend,
    Poll,
    Redrive,
    Refuse,
    Relay,
    Restart,
    Send,
)
from varco_resilience import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable
    from uuid import UUID

    from varco_events._bus import AbstractEventBus, Next
    from varco_events._dlq import AbstractDeadLetterQueue, DeadLetterEntry
    from varco_events._envelope import EventEnvelope
    from varco_events._event import Event
    from varco_events._inbox import InboxRepository
    from varco_events._outbox import OutboxRepository
    from varco_events.testing._lives import Cut
    from varco_events.testing._scenarios import Scenario, Sent, Step

_CHANNEL = "conserved"
# What needs no dead letter.
_SOUND = frozenset({Fate.FINE, Fate.REJECTED, Fate.OLD, Fate.PASSED_OVER})
_ALL = 100_000
_POLICY = RetryPolicy(max_attempts=3, base_delay=0, max_delay=0, retryable_on=(ValueError, OSError))
_ONCE_MORE = RetryPolicy(max_attempts=2, base_delay=0, retryable_on=(ValueError,))


@dataclass(frozen=True)
class EventStores:
    """What outlives the processes of a scenario."""

    outbox: OutboxRepository
    dead_letters: AbstractDeadLetterQueue
    inbox: InboxRepository
    deduplicator: AbstractDeduplicator = field(default_factory=InMemoryDeduplicator)


class Contract(Protocol):
    """What an implementation of the contract says."""

    groups: tuple[str, ...]
    lease: float

    async def advance(self, seconds: float) -> None:
        """Let time pass."""

    def open_bus(
        self,
        group: str,
        life: Life,
        *,
        middleware: Iterable[EventMiddleware],
        dead_letters: AbstractDeadLetterQueue,
    ) -> AbstractEventBus:
        """The bus of a process."""
        ...

    async def bring(self, life: Life) -> None:
        """Let a transport work."""

    async def in_transit(self, group: str) -> Collection[UUID]:
        """What a transport has."""
        ...


class _Breaking(EventMiddleware):
    def __init__(self, world: World) -> None:
        self._world = world

    async def __call__(self, event: Event, channel: str, next: Next) -> None:  # noqa: A002  # the reference's name
        if isinstance(event, Conserved) and event.fate is Fate.WRAPPED and not self._world.mended:
            raise OSError(event.fate)
        await next(event, channel)


class _Process:
    """A relay, a poller, and for each group a bus with its listeners."""

    def __init__(self, world: World) -> None:
        self.life = Life()
        stores, contract = world.stores, world.contract
        self.dead_letters = queue_of(self.life, stores.dead_letters, world.refuses)
        inbox = inbox_of(self.life, stores.inbox)
        self.buses = [
            world.listening(group, self.life, inbox, self.dead_letters) for group in contract.groups
        ]
        dlq = None if world.scenario.parks else self.dead_letters
        self.relay = OutboxRelay(
            outbox=outbox_of(self.life, stores.outbox),
            bus=self.buses[0],
            dlq=dlq,
            batch_size=3,
            lease=contract.lease,
            retry_policy=_POLICY,
        )
        self.poller = InboxPoller(
            inbox=inbox,
            bus=self.buses[0],
            dlq=dlq,
            redeliver_after=contract.lease,
            retry_policy=_POLICY,
        )


class World:
    """What there is in one scenario; used by one task."""

    def __init__(self, contract: Contract, stores: EventStores, scenario: Scenario) -> None:
        self.contract = contract
        self.stores = stores
        self.scenario = scenario
        self.mended = False
        self._sent: dict[UUID, tuple[Conserved, EventEnvelope]] = {}
        self._handled: Counter[tuple[UUID, str]] = Counter()
        self._tries: Counter[tuple[UUID, str]] = Counter()
        self._names: dict[str, str] = {}
        self._is_transport = False
        self._refusals = 0
        self._refused = 0
        self._restarts = 0
        self._redrives = 0
        self._process: _Process | None = None
        self._gone: list[_Process] = []

    @property
    def cuts(self) -> int:
        """How often work was cut off."""
        return sum(life.struck for life in self._lives)

    @property
    def _lives(self) -> list[Life]:
        return [one.life for one in (*self._gone, self._process) if one is not None]

    def refuses(self) -> bool:
        """Whether the dead letter queue is out of order."""
        self._refusals -= 1
        self._refused += self._refusals >= 0
        return self._refusals >= 0

    # The listeners.

    def listening(
        self, group: str, life: Life, inbox: InboxRepository, dlq: AbstractDeadLetterQueue
    ) -> AbstractEventBus:
        """A bus with three listeners: one that leaves all to the bus, and two that take care."""
        bus = self.contract.open_bus(
            group,
            life,
            middleware=(_Breaking(self), RetryMiddleware(max_attempts=2, base_delay=0)),
            dead_letters=dlq,
        )
        listeners = [f"{group}/{kind}" for kind in KINDS]
        self._is_transport = bus.is_transport
        plain, with_inbox, deduplicated = (
            partial(self._meet, listener, life) for listener in listeners
        )
        wants = [partial(self._wants, listener) for listener in listeners]
        seen = deduplicator_of(life, self.stores.deduplicator)

        class Careful(EventConsumer):
            @listen(
                Conserved,
                channel=_CHANNEL,
                filter=wants[1],
                retry_policy=_ONCE_MORE,
                dlq=dlq,
                inbox=inbox,
            )
            async def with_inbox(self, event: Conserved) -> None:
                await with_inbox(event)

            @listen(Conserved, channel=_CHANNEL, filter=wants[2], dlq=dlq, deduplicator=seen)
            async def deduplicated(self, event: Conserved) -> None:
                await deduplicated(event)

        subscribed = [
            bus.subscribe(Conserved, plain, channel=_CHANNEL, filter=wants[0]),
            *Careful().register_to(bus),
        ]
        self._names.update(
            (listener, one.name) for listener, one in zip(listeners, subscribed, strict=True)
        )
        return bus

    def _wants(self, listener: str, event: Conserved) -> bool:
        if listener in event.hits:
            if event.fate is Fate.FILTERED and not self.mended:
                raise ValueError(event.fate)
            return event.fate is not Fate.PASSED_OVER
        return True

    async def _meet(self, listener: str, life: Life, event: Conserved) -> None:
        await life.tick()
        key = event.event_id, listener
        if listener in event.hits:
            self._tries[key] += 1
            if event.fate is Fate.FLAKY and self._tries[key] == 1:
                raise ValueError(event.fate)
            if not self.mended:
                _befall(event.fate, life)
        self._handled[key] += 1
        await life.tick_done()

    # What happens.

    async def play(self) -> None:
        """All steps, then everything is mended and brought to its end; the law holds all along."""
        for step in self.scenario.steps:
            await self._step(step)
            await self._check()
        await self._mend()
        await self._empty()
        await self._check()
        if self.scenario.restarts:
            await self._restart()
        await self._redrive_what_can_be_read()
        await self._check()
        await self._check_end()

    async def close(self) -> None:
        """Stop what is left of the processes."""
        unliftable.difference_update(str(event_id) for event_id in self._sent)
        processes = [one for one in (*self._gone, self._process) if one is not None]
        async with anyio.create_task_group() as group:
            for process in processes:
                for bus in process.buses:
                    group.start_soon(partial(bus.stop, timeout=0))

    async def _step(self, step: Step) -> None:
        match step:
            case Send(events):
                for sent in events:
                    await self._send(sent)
            case Relay(cut):
                await self._do(cut, lambda process: process.relay.run_once())
            case Poll(cut):
                await self._do(cut, lambda process: process.poller.run_once())
            case Redrive(cut):
                await self._do(cut, self._redrive)
            case Refuse(pushes):
                self._refusals = pushes
            case Restart():
                await self._restart()
            case Mend():
                await self._mend()

    async def _send(self, sent: Sent) -> None:
        event = Conserved(
            number=len(self._sent),
            fate=sent.fate,
            hits=sent.hits,
            name=None if sent.key is None else f"key {sent.key}",
        )
        envelope = envelope_of(event, _CHANNEL)
        if sent.fate is Fate.UNLIFTED and not self.mended:
            unliftable.add(str(event.event_id))
        self._sent[event.event_id] = event, envelope
        await self.stores.outbox.save(OutboxEntry.of(envelope))

    async def _mend(self) -> None:
        self.mended = True
        self._refusals = 0
        unliftable.difference_update(str(event_id) for event_id in self._sent)

    async def _restart(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            self._restarts += 1
            self._gone.append(process)
            for bus in process.buses:
                await bus.stop()

    async def _do(self, cut: Cut | None, work: Callable[[_Process], Awaitable[object]]) -> None:
        await self.contract.advance(self.contract.lease * 1.1)
        process = self._process
        if process is not None and process.life.is_over:
            self._gone.append(process)
            process = None
        if process is None:
            process = self._process = _Process(self)
            for bus in process.buses:
                await bus.start()
        life, before = process.life, process.life.struck
        with anyio.CancelScope() as scope:
            life.expect(cut, scope)
            try:
                await work(process)
                await self.contract.bring(life)
            except Killed:
                pass
            except ConnectionError:
                if life.struck == before:
                    raise
        life.expect(None, scope)

    async def _redrive(self, process: _Process) -> None:
        self._redrives += 1
        bus, seconds = process.buses[0], self.contract.lease
        with suppress(Exception):  # what is not mended fails again, and ends it
            await process.dead_letters.redrive(bus, lease=seconds)

    # The end.

    async def _empty(self) -> None:
        """Relay, poll and wait until nothing waits any more."""
        for _ in range(100):
            await self._step(Relay())
            await self._step(Poll())
            if not await self._waiting() and not await self._in_hand():
                return
        raise AssertionError(f"waits for ever: {await self._waiting()}, {await self._in_hand()}")

    async def _redrive_what_can_be_read(self) -> None:
        for _ in range(20):
            letters = await self._letters()
            if not any(map(self._can_be_read, letters)):
                return
            await self._do(None, self._redrive_each)
            await self._empty()
        raise AssertionError(f"driven again for ever: {await self._letters()}")

    async def _redrive_each(self, process: _Process) -> None:
        self._redrives += 1
        batch = await process.dead_letters.pop_batch(limit=_ALL, lease=self.contract.lease)
        for letter in batch:
            if self._can_be_read(letter) and await _was_sent(process.buses[0], letter):
                await process.dead_letters.ack(letter.entry_id)
            else:
                await process.dead_letters.nack(letter.entry_id)

    def _can_be_read(self, letter: DeadLetterEntry) -> bool:
        event, _ = self._sent[letter.envelope.event_id]
        return event.fate not in UNREADABLE and event.fate is not Fate.UNKNOWN

    # The law.

    async def _letters(self) -> list[DeadLetterEntry]:
        return await self.stores.dead_letters.peek(limit=_ALL)

    async def _waiting(self) -> set[tuple[UUID, str]]:
        """The events that are before their groups."""
        entries = await self.stores.outbox.get_pending(limit=_ALL)
        found = {(e.envelope.event_id, group) for e in entries for group in self.contract.groups}
        for group in self.contract.groups:
            found.update((one, group) for one in await self.contract.in_transit(group))
        return found

    async def _in_hand(self) -> set[tuple[UUID, str]]:
        """The events and names of handlers that an inbox poller will bring together."""
        entries = await self.stores.inbox.get_unprocessed(limit=_ALL)
        return {(entry.envelope.event_id, entry.handler_name) for entry in entries}

    async def _parked(self) -> set[UUID]:
        get_parked = getattr(self.stores.outbox, "get_parked", None)
        if get_parked is None:
            return set()
        return {entry.envelope.event_id for entry in await get_parked(limit=_ALL)}

    async def _check(self) -> None:
        # In the order of an event's way, for a transport goes on meanwhile.
        waiting, in_hand = await self._waiting(), await self._in_hand()
        letters, parked = await self._letters(), await self._parked()
        # A cancellation doubles nothing where handlers are called at once; a transport may have
        # taken what the caller did not hear of.
        cuts = self.cuts
        if not self._is_transport:
            cuts -= sum(life.cancelled for life in self._lives)
        # What is driven again may be in two places for a while, where it is recognized in the end.
        redriven = cuts + self._restarts + self._refused if self._redrives else 0
        for letter in letters:
            self._check_letter(letter)
        for event, _ in self._sent.values():
            of_event = [one for one in letters if one.envelope.event_id == event.event_id]
            for group in self.contract.groups:
                waits = (event.event_id, group) in waiting or event.event_id in parked
                for kind in KINDS:
                    listener = f"{group}/{kind}"
                    name = self._names.get(listener, "")
                    of_group = [one for one in of_event if one.group in {"", group}]
                    own = sum(one.handler_name == name for one in of_group)
                    wide = sum(one.handler_name in {"", RELAY_HANDLER} for one in of_group)
                    handled = self._handled[event.event_id, listener]
                    place = f"{event.fate} {listener}: handled {handled}, {own} + {wide} letters"
                    if not _is_for(event, listener):
                        assert handled == own == 0, f"not for it: {place}"
                        continue
                    kept = waits or (event.event_id, name) in in_hand
                    assert handled or own or wide or kept, f"lost: {place}"
                    # A bus in memory forgets with its process whom it has reached.
                    again = cuts + (self._restarts if kind == "plain" else 0)
                    assert handled <= 1 + again, f"handled twice: {place}"
                    # Handled since, by a poller say; driven again it is recognized.
                    since = cuts + self._restarts + redriven
                    if self._redrives:
                        since += self.cuts - cuts
                    assert handled + own <= 1 + since, f"handled and dead: {place}"
                    assert max(own, wide) <= 1 + redriven, f"two letters: {place}"
                    if event.fate in _SOUND and not cuts:
                        assert not own, f"not its fault: {place}"
                    if event.fate in UNREADABLE:
                        assert not handled, f"unseen: {place}"

    def _check_letter(self, letter: DeadLetterEntry) -> None:
        _, sent = self._sent[letter.envelope.event_id]
        kept = letter.envelope
        headers = {k: v for k, v in kept.headers.items() if not k.startswith("varco-")}
        assert kept.replace(headers=headers) == sent, f"{kept} is not what was sent: {sent}"

    async def _check_end(self) -> None:
        letters, parked = await self._letters(), await self._parked()
        for event, _ in self._sent.values():
            is_dead = any(one.envelope.event_id == event.event_id for one in letters)
            for listener in filter(partial(_is_for, event), self._names):
                if event.event_id in parked:
                    continue
                if event.fate in UNREADABLE:
                    assert is_dead, f"{event.fate}: acknowledged unseen by {listener}"
                else:
                    assert self._handled[event.event_id, listener], f"{event.fate}: {listener}"


async def _was_sent(bus: AbstractEventBus, letter: DeadLetterEntry) -> bool:
    errors: list[Exception | None] = []
    await bus.send([letter.redriven()], lambda _, error: errors.append(error))
    return errors == [None]


def _befall(fate: Fate, life: Life) -> None:
    match fate:
        case Fate.POISON:
            raise ValueError(fate)
        case Fate.HOPELESS:
            raise KeyError(fate)
        case Fate.REJECTED:
            raise BusUnavailableError(fate)
        case Fate.DEADLY:
            life.die()
            raise Killed
        case _:
            pass


def _is_for(event: Conserved, listener: str) -> bool:
    if event.fate is Fate.UNKNOWN:
        return False
    return event.fate is not Fate.PASSED_OVER or listener not in event.hits
