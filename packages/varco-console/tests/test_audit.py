"""Audits, in memory and by a repository."""

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest

from varco_console import (
    AuditConflictError,
    AuditEntry,
    AuditRecord,
    AuditState,
    ConsoleConfigError,
    MemoryAudit,
    RepositoryAudit,
)
from varco_domain import InMemoryRepositoryProvider

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "repository"])
def audit(request):
    if request.param == "memory":
        return MemoryAudit()
    return RepositoryAudit(InMemoryRepositoryProvider(AuditRecord))


def entry(**fields):
    return AuditEntry(**{"actor": "ann", "action": "retry", "place": "Dead letters", **fields})


async def test_what_is_kept_comes_back(audit):
    one = entry(
        target={"channel": "mail"},
        ids=(uuid4(), uuid4()),
        outcomes={"x": "done"},
        counts={"done": 2},
        errors=("a: b",),
        seen=2,
        total=3,
        continuation="next",
    )
    kept = await audit.put(one)
    assert kept == replace(one, version=1, changed_at=kept.changed_at)
    assert await audit.get(one.entry_id) == kept
    done = await audit.put(replace(kept, state=AuditState.DONE))
    assert (await audit.get(one.entry_id)).state is AuditState.DONE
    assert await audit.latest() == [done]
    assert await audit.get(uuid4()) is None


async def test_the_newest_first_by_place_and_in_pages(audit):
    kept = [await audit.put(entry(place="ab"[number % 2])) for number in range(6)]
    assert await audit.latest(limit=2) == [kept[5], kept[4]]
    assert await audit.latest(before=kept[4].at, limit=2) == [kept[3], kept[2]]
    assert await audit.latest(place="a") == [kept[4], kept[2], kept[0]]


async def test_of_several_that_change_one_at_once_one_wins(audit):
    kept = await audit.put(entry())
    results = await asyncio.gather(
        *(audit.put(replace(kept, seen=number)) for number in range(8)), return_exceptions=True
    )
    won = [one for one in results if isinstance(one, AuditEntry)]
    assert len(won) == 1
    assert all(isinstance(one, AuditConflictError) for one in results if one not in won)
    assert await audit.get(kept.entry_id) == won[0]
    with pytest.raises(AuditConflictError):
        await audit.put(entry(entry_id=kept.entry_id))


async def test_an_audit_in_memory_forgets_the_oldest():
    audit = MemoryAudit(max_size=2)
    kept = [await audit.put(entry()) for _ in range(3)]
    assert await audit.latest() == [kept[2], kept[1]]


async def test_a_provider_has_to_know_the_model():
    with pytest.raises(ConsoleConfigError, match="AuditRecord"):
        RepositoryAudit(InMemoryRepositoryProvider())
