"""What a service may ask of the storage of one model."""

from abc import abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from varco_domain.exception import RepositoryException
from varco_domain.model import DomainModel
from varco_domain.observe import Observed, ObservedKind
from varco_query import QueryParams, aggregate

if TYPE_CHECKING:
    from varco_query import AggregationQuery, TransformerNode

__all__ = ("AsyncRepository",)

D = TypeVar("D", bound=DomainModel)
PK = TypeVar("PK")


class AsyncRepository(Observed, Generic[D, PK]):  # noqa: UP046 - the specification's type variables
    """Storage of one model within a unit of work.

    What every backend keeps to, and what `varco_domain.testing` checks:

    - `save` inserts an entity that is not persisted, updates one that is, and returns the entity
      as stored; the argument is left as it was. It fills in a generated key, the audit times and
      the version (1, then one more with each update). `save` of a persisted entity matches the
      row by key, by version and by tenant, all in the statement that writes.
    - A persisted entity stands for the row that it was loaded from: one whose key was changed since
      is refused (`ModelValueError`), and so is a bulk call that names a row twice.
    - What `save` takes comes back equal and of the same type; a value that not every engine can
      give back is refused (`ModelValueError`).
    - `where` narrows a single-row statement by a condition, in that same statement.
    - Changes are visible in this unit of work at once and elsewhere after its commit.
    - Only mapped fields can be named in queries; another name raises `FieldNotFound`.
    """

    observed_as: ClassVar[ObservedKind] = "repository_call"
    """What an observer is asked for a call; see `varco_domain.observe`."""

    @abstractmethod
    async def find_by_id(self, pk: PK, *, where: "TransformerNode | None" = None) -> D | None:
        """The entity with this key, if there is one that satisfies `where`."""

    @abstractmethod
    async def find_all(self) -> list[D]:
        """All entities, ordered by key."""

    @abstractmethod
    async def save(self, entity: D) -> D:
        """Insert or update, and return the entity as stored.

        Raises:
            StaleEntityError: The row has another version, or is gone.
            EntityNotFound: The row is gone, and the model has no version.
            UniqueViolationError: Another row has the same key or the same unique values.
            ReferenceViolationError: A foreign key points to no row.
            CheckViolationError: A check constraint does not hold.
            ModelValueError: A value cannot be stored, or the key was changed.
        """

    @abstractmethod
    async def delete(self, entity: D) -> None:
        """Remove the row, matched by key, version and tenant.

        Raises:
            StaleEntityError: The row has another version, or is gone.
            EntityNotFound: The row is gone, and the model has no version.
            StillReferencedError: Another row still refers to it.
        """

    @abstractmethod
    async def find_by_query(self, params: QueryParams) -> list[D]:
        """The entities that a query selects, in its order; ties are in order of the key."""

    @abstractmethod
    async def count(self, params: QueryParams | None = None, *, up_to: int | None = None) -> int:
        """Count the rows that a query selects, without its sort, limit, offset and cursor.

        With `up_to` it stops there: a large table costs no more than so many rows.
        """

    async def aggregate(
        self, query: "AggregationQuery", node: "TransformerNode | None" = None
    ) -> list[dict[str, Any]]:
        """The groups of the rows that a filter selects, as dicts by field and alias.

        It means what `varco_query.aggregate` does. A backend that does not compute groups where
        the rows are brings the rows for it.

        Args:
            query: What to compute, by which groups.
            node: Selects the rows; all if None.

        Raises:
            InvalidNodeError: A sum or average of what is no number, or an order or groups of what
                has none.
        """
        return aggregate(await self.find_by_query(QueryParams(node)), query)

    @abstractmethod
    async def exists(self, pk: PK, *, where: "TransformerNode | None" = None) -> bool:
        """Tell whether the key has a row that satisfies `where`."""

    @abstractmethod
    async def save_many(self, entities: Sequence[D]) -> list[D]:
        """Save all or, with an error, none; in few statements.

        New entities come first, those with a key of their own before those that get one.
        """

    @abstractmethod
    async def delete_many(self, entities: Sequence[D]) -> None:
        """Remove all or, with an error, none; in few statements.

        Those that refer to others of the call go before them.
        """

    async def upsert(self, entities: Sequence[D], *, by: Sequence[str]) -> None:  # noqa: ARG002 - for those who can
        """Insert entities, or update the rows with the same values of `by`, the key or a unique.

        All or, with an error, none. Versions count up; the key, the tenant and the creation time
        of a row stay. No entity is left out in silence.

        Raises:
            FieldNotFound: `by` names no field.
            RepositoryException: `by` is not unique, or the backend has no upsert.
            ModelValueError: A row is named twice, a key was changed, or a value cannot be stored.
            UniqueViolationError: The row belongs to another tenant, or another row has the same
                values of something else that is unique.
        """
        raise RepositoryException(f"{type(self).__name__} has no upsert")

    @abstractmethod
    async def update_many_by_query(self, params: QueryParams, update: dict[str, Any]) -> int:
        """Set fields on all rows that the query's node selects, and return how many there were.

        Versions count up and `updated_at` is set. Keys, tenants and versions cannot be named.

        Raises:
            FieldNotFound: A name is no field, or one that cannot be set.
        """

    @abstractmethod
    def stream_by_query(self, params: QueryParams) -> AsyncIterator[D]:
        """Iterate over the entities that a query selects without holding them all."""
