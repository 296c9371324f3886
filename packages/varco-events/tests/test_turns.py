"""Whose turn it is in the outbox in memory, whatever was parked, postponed or held back."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from uuid import uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from varco_events import InMemoryOutboxRepository, OutboxEntry

START = datetime(2026, 1, 1, tzinfo=UTC)


class Plain:
    """Looks at every entry for every claim."""

    def __init__(self):
        self.kept, self.leases, self.claims, self.parked = {}, {}, {}, {}
        self.places = {}

    def claim(self, now, limit, lease):
        claimable, blocked = [], set()
        for number, entry in self.kept.items():
            if len(claimable) == limit:
                break
            if entry.key is not None and entry.key in blocked:
                continue
            leased = self.leases.get(number)
            waits = entry.available_at is not None and entry.available_at > now
            if (leased is not None and leased > now) or waits:
                blocked.add(entry.key)
            else:
                claimable.append(replace(entry, leased_until=leased))
        claimed = InMemoryOutboxRepository.batch_of(claimable)
        for entry in claimed:
            self.leases[entry.entry_id] = now + lease
            self.kept[entry.entry_id] = stored(entry)
        return claimed

    def save(self, entry):
        known = self.kept.get(entry.entry_id)
        if known is None or known.key != entry.key:  # it goes to the end
            self.drop(entry.entry_id)
            self.places[entry.entry_id] = max(self.places.values(), default=0) + 1
        self.kept[entry.entry_id] = entry

    def put_back(self, entry_id):
        self.kept[entry_id] = replace(self.parked.pop(entry_id), attempts=0)
        self.kept = dict(sorted(self.kept.items(), key=lambda one: self.places[one[0]]))

    def forget(self, entry_id):
        self.drop(entry_id)
        self.parked.pop(entry_id, None)

    def drop(self, entry_id):
        self.leases.pop(entry_id, None)
        return self.kept.pop(entry_id, None)


def stored(entry):
    return replace(entry, leased_until=None, is_counted=False, was_interrupted=False)


class Outboxes(RuleBasedStateMachine):
    """What the outbox claims is what one would that looks at everything."""

    def __init__(self):
        super().__init__()
        self.now = START
        self.outbox, self.plain = InMemoryOutboxRepository(clock=lambda: self.now), Plain()
        self.in_hand = []
        self.number = 0

    def call(self, work, *args, **options):
        try:
            work(*args, **options).send(None)
        except StopIteration as done:
            return done.value
        raise AssertionError("it awaits")

    @rule(
        keys=st.lists(st.sampled_from([None, "a", "b", "c"]), min_size=1, max_size=6),
        delay=st.sampled_from([None, None, None, 5]),
    )
    def save(self, keys, delay):
        at = delay and self.now + timedelta(seconds=delay)
        entries = [OutboxEntry(event_type="t", key=key, available_at=at) for key in keys]
        for entry in entries:
            self.plain.save(entry)
        self.call(self.outbox.save_many, entries)

    @precondition(lambda self: self.plain.kept)
    @rule(data=st.data(), key=st.sampled_from([None, "a", "b", "c"]))
    def save_again(self, data, key):
        known = data.draw(st.sampled_from(list(self.plain.kept.values())))
        entry = replace(known, key=key, claim_id=uuid4())
        self.plain.save(entry)
        self.plain.claims[entry.entry_id] = "nobody's"
        self.call(self.outbox.save_many, [entry])

    @precondition(lambda self: self.plain.kept)
    @rule(data=st.data())
    def delete_what_nobody_need_have(self, data):
        entry_id = data.draw(st.sampled_from(list(self.plain.kept)))
        self.plain.forget(entry_id)
        self.call(self.outbox.delete_many, [entry_id])

    @rule(limit=st.integers(1, 5), lease=st.sampled_from([1, 10]))
    def claim(self, limit, lease):
        wanted = self.plain.claim(self.now, limit, timedelta(seconds=lease))
        claimed = self.call(self.outbox.claim, limit=limit, lease=lease)
        assert [(one.entry_id, one.attempts, one.was_interrupted) for one in claimed] == [
            (one.entry_id, one.attempts, one.was_interrupted) for one in wanted
        ]
        self.in_hand += claimed
        self.plain.claims |= {one.entry_id: one.claim_id for one in claimed}

    @rule(seconds=st.sampled_from([1, 4, 20]))
    def wait(self, seconds):
        self.now += timedelta(seconds=seconds)

    @precondition(lambda self: self.in_hand)
    @rule(data=st.data(), what=st.sampled_from(["delete", "release", "postpone", "park", "renew"]))
    def end(self, data, what):
        entry = data.draw(st.sampled_from(self.in_hand))
        entry_id = entry.entry_id
        holds = self.plain.claims.get(entry_id) == entry.claim_id  # else it lost it to a later one
        if what == "renew":
            self.call(self.outbox.renew, [entry], lease=10)
            if holds and entry_id in self.plain.leases:
                self.plain.leases[entry_id] = self.now + timedelta(seconds=10)
            return
        self.in_hand.remove(entry)
        if what == "delete":
            self.plain.forget(entry_id)
            self.call(self.outbox.delete_many, [entry_id])
        elif what == "park":
            if holds and entry_id in self.plain.kept:
                self.plain.drop(entry_id)
                self.plain.parked[entry_id] = stored(replace(entry, available_at=None))
            self.call(self.outbox.park, entry)
        else:
            later = self.now + timedelta(seconds=5) if what == "postpone" else None
            entry = replace(entry, available_at=later)
            if holds and entry_id in self.plain.kept:
                self.plain.kept[entry_id] = stored(entry)
                self.plain.leases.pop(entry_id, None)
                self.plain.claims[entry_id] = "nobody's"
            self.call(self.outbox.release, [entry])

    @precondition(lambda self: self.plain.parked)
    @rule(data=st.data())
    def retry(self, data):
        entry_id = data.draw(st.sampled_from(list(self.plain.parked)))
        self.plain.put_back(entry_id)
        result = self.call(self.outbox.failures().retry, [entry_id])
        assert result.done == 1

    @invariant()
    def keeps_the_same_in_the_same_order(self):
        pending = self.call(self.outbox.get_pending, limit=10_000)
        assert [one.entry_id for one in pending] == list(self.plain.kept)


TestOutboxes = Outboxes.TestCase
TestOutboxes.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)


@pytest.mark.anyio
async def test_what_comes_behind_a_retried_entry_is_claimed_once():
    outbox = InMemoryOutboxRepository()
    first, *others = _entries(3, key="k")
    await outbox.save(first)
    await outbox.park(*await outbox.claim())
    await outbox.save_many(others)
    await outbox.failures().retry([first.entry_id])
    await outbox.acknowledge(await outbox.claim(limit=1))
    assert [one.entry_id for one in await outbox.claim()] == [one.entry_id for one in others]
    assert await outbox.claim() == []


def _entries(count, **fields):
    return [OutboxEntry(event_type="t", payload=b"", **fields) for _ in range(count)]


async def _time_of_claims(outbox, rounds=200):
    """The least seconds of processing for rounds of ten entries that are claimed and deleted."""
    best = float("inf")
    for _ in range(3):
        await outbox.save_many(_entries(10 * rounds))
        begun = time.process_time()
        for _ in range(rounds):
            claimed = await outbox.claim(limit=10)
            assert len(claimed) == 10
            await outbox.delete_many([entry.entry_id for entry in claimed])
        best = min(best, time.process_time() - begun)
    return best


@pytest.mark.anyio
@pytest.mark.parametrize("what", ["parked", "postponed", "blocked by one", "blocked by many"])
async def test_a_claim_takes_no_longer_for_what_cannot_be_claimed(what):
    outbox, count = InMemoryOutboxRepository(), 20_000
    usual = await _time_of_claims(outbox)
    never = datetime.now(UTC) + timedelta(days=1)
    if what == "parked":
        await outbox.save_many(_entries(count))
        for entry in await outbox.claim(limit=count):
            await outbox.park(entry)
    elif what == "postponed":
        await outbox.save_many(_entries(count, available_at=never))
    else:
        keys = ["one"] if what == "blocked by one" else [str(n) for n in range(count)]
        for key in keys:
            await outbox.save_many(_entries(1, key=key, available_at=never))
        for key in islice(cycle(keys), count):
            await outbox.save_many(_entries(1, key=key))
    assert not await outbox.claim()
    assert await _time_of_claims(outbox) < 4 * usual
