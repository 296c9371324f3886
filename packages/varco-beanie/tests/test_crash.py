"""Processes that are killed in the middle of what they write."""

import asyncio
import importlib.util
import os
import random
import signal
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import settings

pytestmark = pytest.mark.anyio

WRITER = Path(__file__).with_name("_writer.py")
KILLS = 100 if settings.get_current_profile_name() == "deep" else 3


def order_class():
    spec = importlib.util.spec_from_file_location("varco_beanie_test_writer", WRITER)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.Order


Order = order_class()


async def test_kill_9_leaves_both_documents_or_none(server):
    chance = random.Random(1)
    async with server.backend(Order) as backend:
        url = server.url_of(backend.uow_provider.database.name)
        pipe = asyncio.subprocess.PIPE
        starter = await asyncio.create_subprocess_exec(
            sys.executable, str(WRITER), url, stdin=pipe, stdout=pipe
        )
        committed = 0
        for run in range(KILLS):
            starter.stdin.write(f"{run}\n".encode())
            writer = int(await starter.stdout.readline())
            # It writes without a pause: from its first commit on any moment is in the middle.
            # A few are killed before, while they connect and begin.
            if run % 5:
                assert await starter.stdout.readline() == b"committed\n"
                committed += 1
            await asyncio.sleep(chance.uniform(0.0, 0.2))
            os.kill(writer, signal.SIGKILL)
            while (line := await starter.stdout.readline()) == b"committed\n":
                committed += 1
            assert line == b"ended by 9\n"
        starter.stdin.close()
        assert await starter.wait() == 0
        async with asyncio.timeout(60):
            names, keys = await settled(backend)
    assert len(names) == len(set(names))
    assert sorted(names) == sorted(keys)
    written = defaultdict(lambda: defaultdict(int))
    for name in names:
        run, number, _ = name.split("-")
        written[run][int(number)] += 1
    assert len(written) >= committed >= KILLS * 3 // 5
    for numbers in written.values():
        # Whole transactions, and of each process all up to one.
        assert set(numbers.values()) == {3}
        assert sorted(numbers) == list(range(len(numbers)))


async def settled(backend):
    """What was written, once the server has noticed the last kill and undone what was open.

    Who writes the counters of a killed process' transaction has to wait for that.
    """
    orders = backend.uow_provider.get_repository(Order)
    while True:
        names = [order.name for order in await orders.find_all()]
        keys = [entry.key for entry in await backend.outbox.get_pending(limit=1_000_000)]
        if set(names) == set(keys):
            return names, keys
        await asyncio.sleep(0.05)
