"""A rolling deployment: processes of old and of new code share what they write, carry and read."""

import asyncio
import json
import multiprocessing
import runpy
import secrets
from pathlib import Path

import pytest

from varco_redis import RedisDeadLetterQueue, RedisDeadLetterQueueSettings
from varco_sa import bootstrap

FILE = Path(__file__).with_name("_deployed.py")
FORKS = multiprocessing.get_context("forkserver")
# What test_kills preloads too: whichever comes first starts the server.
FORKS.set_forkserver_preload(
    ["asyncpg", "redis.asyncio", "varco_redis", "varco_sa", "varco_events"]
)
COUNT = 12


class Deployment:
    """Runs processes of either code, one after the other or several at once."""

    def __init__(self, folder, *redis):
        self.log = folder / "log"
        self.log.touch()
        self.database = f"sqlite+aiosqlite:///{folder / 'shop.sqlite'}"
        self.redis = redis

    def run(self, *commands):
        processes = [
            FORKS.Process(
                target=runpy.run_path,
                args=(
                    str(FILE),
                    {"arguments": ((code, str(self.log), self.database, *self.redis), todo)},
                    "__main__",
                ),
            )
            for code, *todo in commands
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(300)
            assert process.exitcode == 0

    def handled(self):
        """Code, kind, number and value of what handlers were given; an event may come again."""
        return {tuple(json.loads(line)) for line in self.log.read_text().splitlines()}

    def letters(self):
        async def read():
            async with bootstrap(self.database) as backend:
                return await backend.dead_letters.peek(limit=1000)

        async def read_redis():
            url, prefix = self.redis
            settings = RedisDeadLetterQueueSettings(url=url, key_prefix=prefix)
            async with RedisDeadLetterQueue(settings) as letters:
                return await letters.peek(limit=1000)

        return asyncio.run(read_redis() if self.redis else read())


def check(handled, *, by_new, by_old):
    """Every event was handled, by whichever code, with the values that it was written with."""
    numbers = [*by_new, *by_old]
    assert {(kind, number) for _, kind, number, _ in handled} == {
        (kind, n) for kind in ("placed", "shipped") for n in numbers
    }
    for code, kind, number, value in handled:
        if kind == "placed":
            assert value == number * 100
            assert code == "new" or number in by_old, "old code cannot have read it"
        else:
            assert value == (f"C{number}" if code == "new" and number in by_new else None)


def test_in_one_process_with_sqlite(tmp_path):
    by_new, by_old, later = (range(at, at + COUNT) for at in (0, 100, 200))
    deployment = Deployment(tmp_path)
    deployment.run(("new", ("save", by_new.start, by_new.stop)))
    deployment.run(("old", ("save", by_old.start, by_old.stop), ("relay",)))
    # What old code cannot read waits, as it was written.
    letters = deployment.letters()
    assert {json.loads(one.envelope.payload)["data"]["cents"] for one in letters} == {
        number * 100 for number in by_new
    }
    assert {one.envelope.version for one in letters} == {2}
    deployment.run(("old", ("redrive",), ("save", later.start, later.stop)))
    assert len(deployment.letters()) == COUNT
    deployment.run(("new", ("relay",), ("redrive",)))
    assert deployment.letters() == []
    check(deployment.handled(), by_new=by_new, by_old=(*by_old, *later))


@pytest.mark.parametrize("carrier", ["old", "new"])
def test_over_redis_with_one_group_of_both(tmp_path, redis, carrier):
    by_new, by_old = range(COUNT), range(100, 100 + COUNT)
    deployment = Deployment(tmp_path, redis, f"varco-test-deployment-{secrets.token_hex(6)}:")
    deployment.run(
        ("new", ("save", by_new.start, by_new.stop)), ("old", ("save", by_old.start, by_old.stop))
    )
    deployment.run((carrier, ("relay",)))
    deployment.run(("old", ("consume",)), ("new", ("consume",)))
    letters = deployment.letters()
    assert {one.envelope.event_type for one in letters} <= {"varco.deployment.placed"}
    assert {one.envelope.version for one in letters} <= {2}
    deployment.run(("new", ("redrive",), ("consume",)))
    assert deployment.letters() == []
    check(deployment.handled(), by_new=by_new, by_old=by_old)
