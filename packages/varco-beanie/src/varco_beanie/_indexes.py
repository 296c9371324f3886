"""Indexes that a model's metadata does not know, and how those of a collection differ."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pymongo.errors import OperationFailure

from varco_domain.exception import RepositoryException

if TYPE_CHECKING:
    from pymongo import IndexModel
    from pymongo.asynchronous.collection import AsyncCollection

KEY_INDEX: Final = "_id_"
# What makes two indexes of one name different; a server adds versions and the like.
_TOLD: Final = ("unique", "sparse", "partialFilterExpression", "expireAfterSeconds", "collation")
_OTHER: Final = frozenset({85, 86})
_DUPLICATES: Final = 11000
_LONGEST: Final = 2**31


@dataclass(frozen=True, slots=True, init=False)
class Index:
    """An index of a collection besides those that its model declares.

    Attributes:
        fields: The fields in their order.
        expire_after: Seconds after the moment in the only field when the server removes the
            document, at its next look for such, about once a minute; None: it stays.
        name: Of the index; None for one made of the fields.

    Raises:
        ValueError: There are no fields, or `expire_after` has several or is out of range.
    """

    fields: tuple[str, ...]
    expire_after: int | None
    name: str | None

    def __init__(
        self, *fields: str, expire_after: int | None = None, name: str | None = None
    ) -> None:
        if not fields:
            raise ValueError("an index is of at least one field")
        if expire_after is not None:
            if len(fields) > 1:
                raise ValueError("documents expire by the moment in one field")
            if not 0 <= expire_after < _LONGEST:
                raise ValueError(f"documents expire after 0 to {_LONGEST - 1} seconds")
        object.__setattr__(self, "fields", fields)
        object.__setattr__(self, "expire_after", expire_after)
        object.__setattr__(self, "name", name)


async def create_indexes(
    rows: "AsyncCollection[dict[str, Any]]", wanted: Sequence["IndexModel"]
) -> None:
    """Create the indexes that are missing.

    Raises:
        RepositoryException: One cannot be made beside what is there; it says what to do.
    """
    if not wanted:
        return
    try:
        await rows.create_indexes(list(wanted))
    except OperationFailure as error:
        if error.code == _DUPLICATES:
            raise RepositoryException(
                f"the collection {rows.name!r} has documents that are the same in what one of its "
                f"unique indexes is about ({_unique(wanted)}): change or remove them"
            ) from None
        if error.code not in _OTHER:
            raise
        there = await (await rows.list_indexes()).to_list()
        raise RepositoryException(_conflict(rows.name, wanted, there)) from None


def _unique(wanted: Iterable["IndexModel"]) -> str:
    return ", ".join(str(each.document["name"]) for each in wanted if each.document.get("unique"))


def _conflict(
    collection: str, wanted: Iterable["IndexModel"], there: Iterable[Mapping[str, Any]]
) -> str:
    """Which index is in the way, and what to do about it."""
    known = {str(each["name"]): shape_of(each) for each in there}
    for each in wanted:
        name, shape = str(each.document["name"]), shape_of(each.document)
        same_keys = (other for other, found in known.items() if found["key"] == shape["key"])
        taken = name if name in known else next(same_keys, None)
        if taken is not None and (taken != name or known[taken] != shape):
            return (
                f"the collection {collection!r} has an index {taken!r} that is {known[taken]}, "
                f"where {name!r} is to be {shape}: if no other program needs it, remove it "
                f"(db[{collection!r}].dropIndex({taken!r})), and it is made anew at the next start"
            )
    return f"the collection {collection!r} has indexes that conflict with those of its model"


def differences(
    name: str, wanted: Iterable[Mapping[str, Any]], known: Mapping[str, Mapping[str, Any]]
) -> Iterable[str]:
    """How the indexes of a collection differ from what is wanted, a line each."""
    declared = {str(each["name"]): each for each in wanted}
    for index, each in declared.items():
        if index not in known:
            yield f"{name}: there is no index {index}"
        elif shape_of(each) != shape_of(known[index]):
            yield f"{name}: the index {index} is {shape_of(known[index])}, not {shape_of(each)}"
    for index in sorted(known.keys() - declared.keys() - {KEY_INDEX}):
        yield f"{name}: no model declares the index {index}"


def shape_of(index: Mapping[str, Any]) -> dict[str, Any]:
    """What of an index has to be the same for two to be one."""
    told = {each: index[each] for each in _TOLD if index.get(each) not in (None, False)}
    return {"key": [(name, int(way)) for name, way in index["key"].items()], **told}
