"""What a providify container installs."""

import os

from providify import Configuration, Provider

from varco_beanie._bootstrap import Backend, bootstrap
from varco_domain.providers import IUoWProvider
from varco_domain.registry import DomainModelRegistry
from varco_events import AbstractDeadLetterQueue, InboxRepository, OutboxRepository


@Configuration
class BeanieConfiguration:
    """Binds the backend of `VARCO_MONGODB_URL` with the registered models.

    `await container.ainstall(BeanieConfiguration)` gives `IUoWProvider`,
    `OutboxRepository`, `InboxRepository` and `AbstractDeadLetterQueue`; get `Backend` with
    `aget` first, and close it at the end.
    """

    @Provider(singleton=True)
    async def backend(self) -> Backend:
        """Open the database."""
        url = os.environ.get("VARCO_MONGODB_URL", "mongodb://localhost:27017/varco")
        return await bootstrap(url, *DomainModelRegistry.all())

    @Provider(singleton=True)
    def uow_provider(self, backend: Backend) -> IUoWProvider:
        """The provider of units of work."""
        return backend.uow_provider

    @Provider(singleton=True)
    def outbox(self, backend: Backend) -> OutboxRepository:
        """The outbox for relays."""
        return backend.outbox

    @Provider(singleton=True)
    def inbox(self, backend: Backend) -> InboxRepository:
        """The inbox for consumers."""
        return backend.inbox

    @Provider(singleton=True)
    def dead_letters(self, backend: Backend) -> AbstractDeadLetterQueue:
        """The dead letter queue."""
        return backend.dead_letters
