"""What the classes of the suite share."""

from abc import abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import Any, Self

from varco_domain.providers import RepositoryProvider
from varco_query import ComparisonNode, Operation


class raises:  # noqa: N801 - reads like the function of test frameworks
    """Fail unless the block raises one of the errors; `error` is the one that it raised."""

    error: Any

    def __init__(self, *expected: type[BaseException]) -> None:
        self._expected = expected

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, where: object) -> bool:
        self.error = error
        if kind is None:
            names = " or ".join(each.__name__ for each in self._expected)
            raise AssertionError(f"{names} was not raised")
        return issubclass(kind, self._expected)


def eq(field: str, value: Any) -> ComparisonNode:
    """`field = value`."""
    return ComparisonNode(field, Operation.EQUAL, value)


class ContractBase:
    """A test class that knows how to make the backend under test."""

    partial_unique: bool = True
    """Whether unique constraints leave soft-deleted rows out."""

    @abstractmethod
    def provider(self) -> AbstractAsyncContextManager[RepositoryProvider]:
        """A context that gives a provider with empty tables for all of `MODELS`."""
