"""Who hears of the rows that a write of another model changes."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any
from weakref import ref

from varco_domain.auth import AuthContext
from varco_domain.model import DomainModel
from varco_domain.service._types import ChangeKind
from varco_domain.uow import AsyncUnitOfWork, on_commit


class Audience:
    """The services of one provider: the last one made of each class, and those that are observed.

    Services made for one request each are many and short-lived: one of a class speaks for all of
    them, and stays if it has hooks. Safe to use from several threads: each step is one operation
    of a dict.
    """

    def __init__(self) -> None:
        self._last: dict[type, Callable[[], Any]] = {}
        self._observed: dict[int, ref[Any]] = {}

    def join(self, service: Any) -> None:
        """Have a service speak for its class from now on; one without hooks while it lives."""
        self._last[type(service)] = (lambda: service) if service._is_followed() else ref(service)  # noqa: SLF001 - a service of ours

    def observed(self, service: Any) -> None:
        """Remember, while it lives, that a service has observers."""
        key = id(service)
        self._observed[key] = ref(service, lambda _: self._observed.pop(key, None))

    def hears(self, model: type[DomainModel], writer: Any) -> bool:
        """Tell whether anybody hears of the rows of a model."""
        followers = chain(self._followed(model, writer), self._beside(model, writer))
        return next(followers, None) is not None

    async def tell(
        self,
        writer: Any,
        uow: AsyncUnitOfWork,
        ctx: AuthContext,
        model: type[DomainModel],
        kind: ChangeKind,
        befores: Sequence[DomainModel],
        afters: Sequence[DomainModel | None],
    ) -> None:
        """Have all services of a model announce changes as their own.

        Args:
            writer: The service whose write it was; it speaks for its class.
            uow: The unit of work of the write.
            ctx: On whose behalf it is.
            model: The model of the rows that were changed with it.
            kind: What happened to them.
            befores: The rows before.
            afters: The rows after.
        """
        told: list[Any] = []
        for service in self._followed(model, writer):
            changes = service._changes(kind, befores, afters)  # noqa: SLF001 - a service of ours
            await service._announce_changes(uow, ctx, changes)  # noqa: SLF001 - as above
            told += service._observers  # noqa: SLF001 - as above
        for service in self._beside(model, writer):
            changes = service._changes(kind, befores, afters)  # noqa: SLF001 - as above
            # A view has the observers of the service that it is one of.
            for observer in service._observers:  # noqa: SLF001 - as above
                if observer not in told:
                    told.append(observer)
                    on_commit(uow, partial(observer, ctx, changes))

    def _speakers(self, writer: Any) -> tuple[Any, ...]:
        found = {cls: last() for cls, last in tuple(self._last.items())}
        found[type(writer)] = writer
        return tuple(service for service in found.values() if service is not None)

    def _followed(self, model: type[DomainModel], writer: Any) -> Iterator[Any]:
        for service in self._speakers(writer):
            if service.types.entity_cls is model and service._is_followed():  # noqa: SLF001 - as above
                yield service

    def _beside(self, model: type[DomainModel], writer: Any) -> Iterator[Any]:
        """Iterate over observed services that do not speak for their class."""
        speakers = {id(service) for service in self._speakers(writer)}
        for reference in tuple(self._observed.values()):
            service = reference()
            if (
                service is not None
                and id(service) not in speakers
                and service.types.entity_cls is model
            ):
                yield service


def audience_of(provider: object) -> Audience:
    """Who hears of the writes to a provider's rows, nobody at first.

    One of another kind that has no room for an attribute has a new one for each that asks.
    """
    own: dict[str, Any] = getattr(provider, "__dict__", {})
    audience: Audience = own.setdefault("_audience", Audience())
    return audience
