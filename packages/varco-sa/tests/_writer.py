"""Starts processes that write entities with outbox entries until they are killed: test_crash.py.

For each line on standard input it forks one, so that a kill does not cost an import of everything.
"""

import asyncio
import os
import sys

from varco_domain.model import DomainModel
from varco_events import OutboxEntry
from varco_sa import SQLAlchemyRepositoryProvider, make_engine


class Order(DomainModel):
    name: str


async def write_once(uow, run, number):
    for each in range(3):
        name = f"{run}-{number}-{each}"
        await uow.orders.save(Order(name=name))
        await uow.outbox.save(OutboxEntry(event_type="order", key=name))


async def prepare(provider):
    """Have the statements compiled, and leave no connection to inherit."""
    async with provider.make_uow() as uow:
        await write_once(uow, "undone", 0)
        await uow.rollback()
    await provider.engine.dispose()


async def write(provider, run):
    number = 0
    while True:
        async with provider.make_uow() as uow:
            await write_once(uow, run, number)
        if number == 0:
            sys.stdout.write("committed\n")
            sys.stdout.flush()
        number += 1


def main(url):
    provider = SQLAlchemyRepositoryProvider(make_engine(url), Order)
    asyncio.run(prepare(provider))
    for line in sys.stdin:
        writer = os.fork()
        if writer == 0:
            asyncio.run(write(provider, line.strip()))
        sys.stdout.write(f"{writer}\n")
        sys.stdout.flush()
        _, status = os.waitpid(writer, 0)
        sys.stdout.write(f"ended by {os.WTERMSIG(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
