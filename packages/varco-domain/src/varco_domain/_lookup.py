"""Asking a repository for one row, one with the methods of 1.0.6 only included."""

from typing import Any

from varco_domain._hooks import takes
from varco_domain.exception import RepositoryException
from varco_domain.model import DomainModel
from varco_domain.repository import AsyncRepository
from varco_query import QueryParams, TransformerNode, compile_predicate


def able[R](repository: R, method: str) -> R:
    """The repository, which is asked for more than those of 1.0.6 have.

    Raises:
        RepositoryException: It has no such method.
    """
    if not hasattr(repository, method):
        raise RepositoryException(
            f"{type(repository).__name__} has no {method}, which this call needs; give it one, as "
            "AsyncRepository describes it"
        )
    return repository


async def find_by_key[D: DomainModel](
    repository: AsyncRepository[D, Any], pk: Any, where: TransformerNode | None
) -> D | None:
    """The entity with a key if it satisfies a condition.

    A repository that takes no condition finds the entity, and the condition decides about it then.
    """
    if where is None:
        return await repository.find_by_id(pk)
    if takes(repository.find_by_id, "where"):
        return await repository.find_by_id(pk, where=where)
    entity = await repository.find_by_id(pk)
    return entity if entity is not None and compile_predicate(where)(entity) else None


async def has_key(
    repository: AsyncRepository[Any, Any], pk: Any, where: TransformerNode | None
) -> bool:
    """Tell whether a key has a row that satisfies a condition."""
    if where is None:
        return await repository.exists(pk)
    if takes(repository.exists, "where"):
        return await repository.exists(pk, where=where)
    return await find_by_key(repository, pk, where) is not None


async def count_rows(
    repository: AsyncRepository[Any, Any], params: QueryParams | None, up_to: int | None
) -> int:
    """Count the rows that a query selects, no further than `up_to`."""
    if up_to is None:
        return await repository.count(params)
    if takes(repository.count, "up_to"):
        return await repository.count(params, up_to=up_to)
    return min(await repository.count(params), up_to)
