"""Processes that are killed, that die of what they handle, that freeze, join and leave."""

import asyncio
import importlib.util
import multiprocessing
import os
import runpy
import signal
from collections import defaultdict
from pathlib import Path

import pytest

from varco_kafka import KafkaEventBus, KafkaEventBusSettings

# Limits are for hangs: they are long, for a machine that has much else to do.
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

FILE = Path(__file__).with_name("_processes.py")
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["varco_kafka._bus", "varco_kafka._lag"])


def _load():
    spec = importlib.util.spec_from_file_location("varco_kafka_test_processes", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


roles = _load()


class Process:
    """One of the processes; what it says comes from `hear`."""

    def __init__(self, role, *arguments):
        self._line, line = FORKS.Pipe()
        self._process = FORKS.Process(
            target=runpy.run_path,
            args=(str(FILE), {"arguments": (role, line, *arguments)}, "__main__"),
        )
        self._process.start()
        line.close()

    async def hear(self):
        return await asyncio.wait_for(asyncio.to_thread(self._line.recv), 120)

    async def leave(self):
        self._line.send("leave")
        await self.ended()

    def signal(self, number):
        os.kill(self._process.pid, number)

    async def kill(self):
        self._process.kill()
        await self.ended()

    async def ended(self):
        await asyncio.to_thread(self._process.join)
        code = self._process.exitcode
        self._process.close()
        self._line.close()
        return code


async def spawn(*command):
    process = Process(*command)
    assert await process.hear() == "ready"
    return process


async def until(condition, seconds=200):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


def counted(path):
    """What was handled by key, in the order in which it first was, and how often in all."""
    lines = [line.rpartition(" ") for line in path.read_text().splitlines()]
    firsts = defaultdict(dict)
    for name, _, number in lines:
        firsts[name].setdefault(int(number))
    return {name: list(numbers) for name, numbers in firsts.items()}, len(lines)


async def publish(options, events):
    bus = KafkaEventBus(KafkaEventBusSettings(**options))
    await bus.publish_many([(event, "c") for event in events])
    await bus.stop()


@pytest.fixture
def takeover(takeover_url, prefix, tmp_path):
    """Settings of a group on a server that notices when a member is gone, and a log."""
    options = {
        "url": takeover_url,
        "topic": f"{prefix}{{channel}}",
        "group": prefix,
        "partitions": 4,
        "lease": 6.0,
        "hand_over": 5.0,
        "timeout": 10.0,
        "idempotent": "VARCO_TEST_KAFKA_URL" in os.environ,
    }
    path = tmp_path / "log"
    path.touch()
    return options, path


def events(first, last):
    return [roles.Counted(number=n, name=f"key {n % 20}") for n in range(first, last)]


async def test_others_take_over_from_a_killed_member_and_keep_the_order(takeover):
    options, path = takeover
    await publish(options, events(0, 1))
    members = [await spawn("log", options, str(path)) for _ in range(2)]
    publishing = asyncio.create_task(publish(options, events(1, 1500)))
    await until(lambda: counted(path)[1] > 100)
    await members[0].kill()
    await publishing
    try:
        await until(lambda: sum(map(len, counted(path)[0].values())) == 1500)
    finally:
        await members[1].kill()
    firsts, count = counted(path)
    assert all(numbers == sorted(numbers) for numbers in firsts.values())
    assert count - 1500 <= 4 * 256  # at most what was in hand


async def test_a_frozen_member_does_no_harm_when_it_thaws(takeover):
    options, path = takeover
    await publish(options, events(0, 1))
    members = [await spawn("log", options, str(path)) for _ in range(4)]
    try:
        publishing = asyncio.create_task(publish(options, events(1, 1000)))
        await until(lambda: counted(path)[1] > 50)
        members[0].signal(signal.SIGSTOP)
        await publishing
        await until(lambda: sum(map(len, counted(path)[0].values())) == 1000)  # without it
        members[0].signal(signal.SIGCONT)
        await publish(options, events(1000, 1400))
        await until(lambda: sum(map(len, counted(path)[0].values())) == 1400)
    finally:
        for member in members:
            member.signal(signal.SIGCONT)
            await member.kill()
    firsts, count = counted(path)
    assert all(numbers == sorted(numbers) for numbers in firsts.values())
    assert count - 1400 <= 4 * 256


async def test_members_that_join_and_leave_lose_nothing_and_keep_the_order(takeover):
    options, path = takeover
    await publish(options, events(0, 1))
    members = [await spawn("log", options, str(path))]
    publishing = asyncio.create_task(publish(options, events(1, 1500)))
    await until(lambda: counted(path)[1] > 100)
    members.append(await spawn("log", options, str(path)))
    before = counted(path)[1]
    await until(lambda: counted(path)[1] > min(before + 100, 1400))
    await members[0].leave()
    await publishing
    try:
        await until(lambda: sum(map(len, counted(path)[0].values())) == 1500)
    finally:
        await members[1].kill()
    firsts, count = counted(path)
    assert all(numbers == sorted(numbers) for numbers in firsts.values())
    # What the stand-in forgets is what lies beside a committed offset.
    assert count - 1500 <= (0 if "VARCO_TEST_KAFKA_URL" in os.environ else 2 * 256)


async def run_until_it_lives(most, options, path, pause):
    """How many processes died before one came to the end."""
    for died in range(most + 1):
        code = await Process("die", options, str(path), pause).ended()
        if code == 0:
            return died
        assert code == 9
    raise AssertionError(f"{most} processes died, and there is no end")


@pytest.mark.parametrize(
    ("attempts", "names", "pause"),
    [(1, "", 0), (3, "", 0.02), (3, "abc", 0.02)],
    ids=["once", "thrice", "with keys"],
)
async def test_what_kills_its_process_is_dead_lettered_after_max_attempts(
    url, prefix, tmp_path, attempts, names, pause
):
    options = {
        "url": url,
        "topic": f"{prefix}{{channel}}",
        "group": prefix,
        "partitions": 1,
        "lease": 6.0,
        "hand_over": 1.0,
        "max_attempts": attempts,
        # Else the stand-in waits for the leader that died, and elects no other.
        "member": "one",
    }
    deadly = {4, 11}
    every = [
        roles.Counted(number=n, deadly=n in deadly, name=names[n % len(names)] if names else "")
        for n in range(16)
    ]
    await publish(options, every)
    path = tmp_path / "log"
    assert attempts <= await run_until_it_lives(12, options, path, pause) <= 2 * attempts
    lines = path.read_text().split("\n")
    # Of what is begun side by side, an attempt may be counted that does not come to it.
    assert all(1 <= lines.count(f"begun {n}") <= attempts for n in deadly)
    assert {n for n in range(16) if f"done {n}" in lines} == set(range(16)) - deadly
    bus = KafkaEventBus(KafkaEventBusSettings(**options))
    letters = [one for one in await bus.dead_letters.peek(limit=1000) if one.group == prefix]
    await bus.stop()
    assert sorted(one.event.number for one in letters) == sorted(deadly)
    assert {(one.attempts, one.error_type) for one in letters} == {(attempts, "KafkaPoisonError")}
