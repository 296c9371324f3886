"""What is declared around a provider: a database for each tenant, and units of work run again."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from varco_beanie import TransactionAbortedError, bootstrap
from varco_domain.auth import Action, AuthContext
from varco_domain.auth.helpers import RoleBasedAuthorizer
from varco_domain.dto import generate_dtos
from varco_domain.model import VersionedDomainModel
from varco_domain.service import AsyncService, TenantUoWProvider
from varco_domain.service.tenant import UnknownTenantError, tenant_context
from varco_domain.testing._models import Label
from varco_resilience import RetryPolicy, retry

pytestmark = pytest.mark.anyio
AGAIN = RetryPolicy(max_attempts=20, base_delay=0.001, retryable_on=(TransactionAbortedError,))


async def test_each_tenant_has_a_database(server):
    async with AsyncExitStack() as stack:
        backends = {
            name: await stack.enter_async_context(bootstrap(server.url_of(server.name()), Label))
            for name in ("acme", "globex")
        }
        provider = TenantUoWProvider(
            {name: backend.uow_provider for name, backend in backends.items()}
        )
        for name in backends:
            with tenant_context(name):
                async with provider.make_uow() as uow:
                    await uow.repository(Label).save(Label(pk="a", text=name))
        for name, backend in backends.items():
            with tenant_context(name):
                async with provider.make_uow() as uow:
                    assert [each.text for each in await uow.repository(Label).find_all()] == [name]
            assert await backend.uow_provider.database["contract_labels"].count_documents({}) == 1
        with tenant_context("initech"), pytest.raises(UnknownTenantError):
            provider.make_uow()


class Purse(VersionedDomainModel):
    class Meta:
        table = "beanie_purses"

    coins: int = 0


Dto = generate_dtos(Purse)


class PurseService(AsyncService[Purse]):
    tries = 0

    @retry(AGAIN)
    async def move(self, source, target, ctx):
        """Two writes, of which the second may meet another transaction."""
        self.tries += 1
        async with self._uow_provider.make_uow() as uow:
            purses = uow.repository(Purse)
            for pk, coins in ((source, -1), (target, 1)):
                purse = await purses.find_by_id(pk)
                purse.coins += coins
                await purses.save(purse)


async def test_a_transaction_that_was_aborted_is_run_again_where_it_is_declared(server):
    async with server.backend(Purse) as backend:
        provider = backend.uow_provider
        repo = provider.get_repository(Purse)
        one, other = await repo.save_many([Purse(coins=10), Purse(coins=10)])
        service = PurseService(provider, RoleBasedAuthorizer({"r": list(Action)}))
        ctx = AuthContext("u", roles=["r"])

        # Whoever writes first the other way round is in the way of the second write.
        async with provider.make_uow() as uow:
            first = await uow.repository(Purse).find_by_id(other.pk)
            first.coins += 5
            await uow.repository(Purse).save(first)
            moving = asyncio.create_task(service.move(one.pk, other.pk, ctx))
            while service.tries < 2:
                await asyncio.sleep(0.001)
        await moving
        assert [each.coins for each in await repo.find_all()] == [9, 16]
