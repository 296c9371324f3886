"""Writes entities with their outbox entries until it is killed; run by test_crash.py."""

import asyncio
import sys

from varco_domain.model import DomainModel
from varco_events import OutboxEntry
from varco_sa import SQLAlchemyRepositoryProvider, make_engine


class Order(DomainModel):
    name: str


async def main(url, run):
    provider = SQLAlchemyRepositoryProvider(make_engine(url), Order)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    number = 0
    while True:
        async with provider.make_uow() as uow:
            names = [f"{run}-{number}-{each}" for each in range(3)]
            for name in names:
                await uow.orders.save(Order(name=name))
                await uow.outbox.save(OutboxEntry(event_type="order", key=name))
        number += 1


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
