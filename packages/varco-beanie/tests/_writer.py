"""Starts processes that write entities with outbox entries until they are killed: test_crash.py.

For each line on standard input it forks one, so that a kill does not cost an import of everything.
"""

import asyncio
import os
import sys

from varco_beanie import BeanieRepositoryProvider, open_database
from varco_domain.model import DomainModel
from varco_events import OutboxEntry


class Order(DomainModel):
    class Meta:
        table = "beanie_orders"

    name: str


def tell(what):
    """To whoever kills it."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


async def write(url, run):
    provider = BeanieRepositoryProvider(open_database(url), Order)
    number = 0
    while True:
        async with provider.make_uow() as uow:
            for each in range(3):
                name = f"{run}-{number}-{each}"
                await uow.repository(Order).save(Order(name=name))
                await uow.outbox.save(OutboxEntry(event_type="order", key=name))
        if number == 0:
            tell("committed")
        number += 1


def main(url):
    for line in sys.stdin:
        writer = os.fork()
        if writer == 0:
            asyncio.run(write(url, line.strip()))
        tell(writer)
        _, status = os.waitpid(writer, 0)
        tell(f"ended by {os.WTERMSIG(status)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
