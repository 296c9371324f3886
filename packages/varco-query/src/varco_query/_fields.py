"""Fields that make comparisons with Python's operators."""

from collections.abc import Iterable
from typing import Any, ClassVar, Final, final

from varco_query._node import ComparisonNode
from varco_query._operation import Operation
from varco_query._params import SortField, SortOrder
from varco_query._value import check_field


@final
class Field[T]:
    """A field whose operators give nodes: `Field[int]("pk") > 10`.

    Attributes of it are the fields of a related model: `F.author.name`.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = check_field(name)

    def __getattr__(self, name: str) -> "Field[Any]":
        if name.startswith("__"):
            raise AttributeError(name)
        return Field(f"{self._name}.{name}")

    def __getitem__(self, name: str) -> "Field[Any]":
        """The field of a related model, also one named like a method: `F.author["like"]`."""
        return Field(f"{self._name}.{name}")

    def __str__(self) -> str:
        return self._name

    def __repr__(self) -> str:
        return f"Field({self._name!r})"

    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # == gives a node, so a field is no key

    def __eq__(self, other: T | None) -> ComparisonNode:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # gives a node, that is the point
        return ComparisonNode(self._name, Operation.EQUAL, other)

    def __ne__(self, other: T | None) -> ComparisonNode:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # gives a node, that is the point
        return ComparisonNode(self._name, Operation.NOT_EQUAL, other)

    def __gt__(self, other: T) -> ComparisonNode:
        return ComparisonNode(self._name, Operation.GREATER_THAN, other)

    def __ge__(self, other: T) -> ComparisonNode:
        return ComparisonNode(self._name, Operation.GREATER_EQUAL, other)

    def __lt__(self, other: T) -> ComparisonNode:
        return ComparisonNode(self._name, Operation.LESS_THAN, other)

    def __le__(self, other: T) -> ComparisonNode:
        return ComparisonNode(self._name, Operation.LESS_EQUAL, other)

    def like(self, pattern: str) -> ComparisonNode:
        """`LIKE`: `%` any text, `_` one character, a backslash escapes."""
        return ComparisonNode(self._name, Operation.LIKE, pattern)

    def ilike(self, pattern: str) -> ComparisonNode:
        """`LIKE` without regard to case."""
        return ComparisonNode(self._name, Operation.ILIKE, pattern)

    def contains(self, part: str) -> ComparisonNode:
        """`CONTAINS`; no character is special."""
        return ComparisonNode(self._name, Operation.CONTAINS, part)

    def startswith(self, part: str) -> ComparisonNode:
        """`STARTSWITH`; no character is special."""
        return ComparisonNode(self._name, Operation.STARTSWITH, part)

    def endswith(self, part: str) -> ComparisonNode:
        """`ENDSWITH`; no character is special."""
        return ComparisonNode(self._name, Operation.ENDSWITH, part)

    def in_(self, values: Iterable[T]) -> ComparisonNode:
        """`IN`."""
        return ComparisonNode(self._name, Operation.IN, values)

    def not_in(self, values: Iterable[T]) -> ComparisonNode:
        """`NOT IN`."""
        return ComparisonNode(self._name, Operation.NOT_IN, values)

    def between(self, low: T, high: T) -> ComparisonNode:
        """`BETWEEN`, both included."""
        return ComparisonNode(self._name, Operation.BETWEEN, (low, high))

    def is_null(self) -> ComparisonNode:
        """`IS NULL`."""
        return ComparisonNode(self._name, Operation.IS_NULL)

    def is_not_null(self) -> ComparisonNode:
        """`IS NOT NULL`."""
        return ComparisonNode(self._name, Operation.IS_NOT_NULL)

    def asc(self) -> SortField:
        """The sort by this field, null first."""
        return SortField(self._name, SortOrder.ASC)

    def desc(self) -> SortField:
        """The sort by this field from the largest, null last."""
        return SortField(self._name, SortOrder.DESC)


@final
class _Fields:
    """`F.title` and `F["title"]` are `Field("title")`."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Field[Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        return Field(name)

    def __getitem__(self, name: str) -> Field[Any]:
        return Field(name)


F: Final = _Fields()
"""Fields by their names: `F.title`, or `F["title"]`, is `Field("title")`."""
