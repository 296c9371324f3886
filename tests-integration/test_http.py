"""Writes over HTTP on databases: one effect for one key, one winner for one version."""

import asyncio
import uuid
from collections import Counter
from typing import Annotated

import pytest

from varco_domain.auth import AbstractAuthorizer, AuthContext
from varco_domain.dto import CreateDTO, ReadDTO, UpdateDTO
from varco_domain.meta import FieldHint
from varco_domain.model import VersionedDomainModel
from varco_domain.service import AsyncService
from varco_http import HttpRequest, HttpResource, Idempotency, IdempotencyRecord, Verb
from varco_sa import bootstrap


class Order(VersionedDomainModel):
    text: Annotated[str, FieldHint(max_length=100)]


class Orders(AsyncService[Order, int, CreateDTO, ReadDTO, UpdateDTO]):
    fails = False

    async def _after_write(self, uow, ctx, changes):
        await super()._after_write(uow, ctx, changes)
        if self.fails:
            raise ConnectionError("died before the commit")


class Everybody(AbstractAuthorizer):
    async def authorize(self, ctx, action, resource):
        return None


class Process:
    """What one process has of its own: the service, and the keys it works on."""

    def __init__(self, backend):
        self.idempotency = Idempotency(backend.uow_provider)
        self.resource = HttpResource(Orders, "/orders", idempotency=self.idempotency)
        self.service = Orders(backend.uow_provider, Everybody())

    async def __call__(self, verb, body=b"", pk="", **headers):
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = HttpRequest(
            self.resource.endpoint(verb).method,
            f"/orders/{pk}".rstrip("/"),
            {"pk": pk},
            headers={"content-type": "application/json", **names},
            body=body,
            ctx=AuthContext("ann"),
        )
        return await self.resource.endpoint(verb).handle(request, lambda _: self.service)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'orders.sqlite'}"
    return request.getfixturevalue("postgresql")


def test_equal_keys_at_once_have_one_effect(url):
    async def run():
        async with bootstrap(url, Order, IdempotencyRecord) as backend:
            processes = [Process(backend), Process(backend)]
            key, body = uuid.uuid4().hex, b'{"text": "one"}'
            answers = await asyncio.gather(
                *(processes[n % 2](Verb.CREATE, body, idempotency_key=key) for n in range(60))
            )
            statuses = Counter(each.status for each in answers)
            assert set(statuses) <= {201, 409}
            made = [each for each in answers if each.status == 201]
            assert len({each.body for each in made}) == 1
            assert sum(each.header("idempotency-replayed") is None for each in made) == 1
            assert all(b"in_flight" in each.body for each in answers if each.status == 409)
            assert await processes[0].service.count() == 1

            patches = await asyncio.gather(
                *(
                    processes[n % 2](Verb.PATCH, b'{"text": "%d"}' % n, "1", if_match='"1.1"')
                    for n in range(50)
                )
            )
            assert Counter(each.status for each in patches) == {200: 1, 412: 49}

    asyncio.run(run())


def test_a_write_that_is_undone_leaves_no_answer(url):
    async def run():
        async with bootstrap(url, Order, IdempotencyRecord) as backend:
            process = Process(backend)
            process.service.fails = True
            with pytest.raises(ConnectionError):
                await process(Verb.CREATE, b'{"text": "one"}', idempotency_key="k")
            assert await process.service.count() == 0
            process.service.fails = False
            made = await process(Verb.CREATE, b'{"text": "one"}', idempotency_key="k")
            assert (made.status, made.header("idempotency-replayed")) == (201, None)
            assert await process.service.count() == 1

    asyncio.run(run())
