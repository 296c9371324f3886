"""Processes of a file beside this one that are started again whenever they end."""

import asyncio
import contextlib
import multiprocessing
import os
import runpy
from collections import Counter

FORKS = multiprocessing.get_context("forkserver")
# Importing these takes longer than most processes live.
FORKS.set_forkserver_preload(
    ["asyncpg", "redis.asyncio", "varco_events", "varco_kafka._bus", "varco_redis", "varco_sa"]
)


class Fleet:
    """Runs a module's file for each command; whoever ends in a way of `ways` is started again."""

    def __init__(self, module, commands, ways):
        self.file, self.commands, self.ways = module.__file__, commands, ways
        self.ended = Counter()

    async def __aenter__(self):
        self.alive = [self._start(command) for command in self.commands]
        self.watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_):
        self.watching.cancel()
        for process in self.alive:
            process.kill()
            process.join()
        with contextlib.suppress(asyncio.CancelledError):
            await self.watching

    def signal(self, place, number):
        with contextlib.suppress(ProcessLookupError):  # it has died by itself
            os.kill(self.alive[place].pid, number)

    def _start(self, command):
        arguments = (self.file, {"arguments": command}, "__main__")
        process = FORKS.Process(target=runpy.run_path, args=arguments, daemon=True)
        process.start()
        return process

    async def _watch(self):
        while True:
            for place, process in enumerate(self.alive):
                if not process.is_alive():
                    assert process.exitcode in self.ways, process.exitcode
                    self.ended[self.commands[place][0], process.exitcode] += 1
                    process.close()
                    self.alive[place] = self._start(self.commands[place])
            await asyncio.sleep(0.02)
