"""Type variables of the service layer, and what a write did."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from typing_extensions import TypeVar

from varco_domain.model import DomainModel
from varco_query import TransformerNode

# What is left out, type checkers take for Any, and the service for the generated classes.
D = TypeVar("D", bound=DomainModel, default=Any)
"""The model of a service."""
PK = TypeVar("PK", default=Any)
"""The type of its primary key."""
C = TypeVar("C", default=Any)
"""What creates an entity."""
R = TypeVar("R", default=Any)
"""What a caller reads of an entity."""
U = TypeVar("U", default=Any)
"""What changes an entity."""


class ServiceTypes(NamedTuple):
    """What a service was declared with: `AsyncService[entity_cls, pk, create, read, update]`.

    What the declaration leaves out is the model's key and its generated DTOs.
    """

    entity_cls: type[DomainModel]
    pk: Any
    create: Any
    read: Any
    update: Any


class Visibility(NamedTuple):
    """Which rows a caller sees: those that satisfy `where` and, `by_row`, are asked about."""

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

    def became(self, **values: Any) -> bool:
        """Tell whether the entity has these values since this change, and had not before.

        A row that is gone has none.
        """

        def has(entity: DomainModel | None) -> bool:
            return entity is not None and all(
                getattr(entity, name) == value for name, value in values.items()
            )

        return has(self.after) and not has(self.before)
