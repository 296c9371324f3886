"""Type variables of the service layer, and what a write did."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

from varco_domain.model import DomainModel
from varco_query import TransformerNode

D = TypeVar("D", bound=DomainModel)
PK = TypeVar("PK")
C = TypeVar("C")
R = TypeVar("R")
U = TypeVar("U")


class ServiceTypes(NamedTuple):
    """What a service was declared with: ``AsyncService[entity_cls, pk, create, read, update]``."""

    entity_cls: type[DomainModel]
    pk: Any
    create: Any
    read: Any
    update: Any


class Visibility(NamedTuple):
    """Which rows a caller sees: those that satisfy ``where`` and, ``by_row``, are asked about."""

    where: TransformerNode | None
    by_row: bool


class ChangeKind(StrEnum):
    """What happened to an entity."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"
    RESTORED = "restored"
    PURGED = "purged"


@dataclass(frozen=True, slots=True)
class EntityChange:
    """One change of a unit of work.

    Attributes:
        kind: What happened.
        entity_cls: The model.
        pk: The key.
        before: The entity before; None when it was created.
        after: The entity after; None when its row is gone.
        tenant_id: Its tenant, if the model has tenants.
    """

    kind: ChangeKind
    entity_cls: type[DomainModel]
    pk: Any
    before: DomainModel | None
    after: DomainModel | None
    tenant_id: str | None = None
