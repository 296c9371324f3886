"""The failures in a collection, as operators see them: what all three kinds share."""

import json
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from varco_beanie._codecs import FINER, naive
from varco_beanie._collections import KEY
from varco_beanie._counters import COUNTERS
from varco_beanie._envelopes import (
    ASIDE,
    LEASED,
    Document,
    Documents,
    aware,
    ceiled,
    server_time,
    translated,
)
from varco_beanie._transaction import in_transaction
from varco_events import (
    ALL_FAILURES,
    ActionResult,
    Failure,
    FailureFilter,
    FailureOutcome,
    FailureStore,
    FailureTally,
    FailureTokenError,
    NoSuchFailureError,
    StoreFigures,
    check_ids,
    outcomes_of,
)

if TYPE_CHECKING:
    from pymongo.asynchronous.client_session import AsyncClientSession

    from varco_beanie._storage import Storage

type Change = Callable[["AsyncClientSession", list[Any]], Awaitable[object]]

_NONE: Document = {KEY: {"$in": []}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Where the documents of failures have what.

    Attributes:
        collection: The collection's name, and that of its numbers.
        is_failure: Which documents are failures.
        is_waiting: Which are on their way; None if none are.
        load: Makes a failure of a document, its time, whether it is in hand, and its place.
        places: The place of each name of a filter.
        same: The names of a filter that have one value in all documents.
        nameless: The name of a handler that has none.
        entry_id: The place of the id of an entry.
        failed_at: The place of the moment at which it was put aside.
        waiting_since: The place of the moment since when it is there.
        number: The place of the number that is larger in what was put aside later.
        order: The places that say the order, the last of them unique.
    """

    collection: str
    is_failure: Document
    is_waiting: Document | None
    load: Callable[[Document, datetime, bool, str], Failure]
    places: Mapping[str, str]
    same: Mapping[str, str]
    nameless: str = ""
    entry_id: str = KEY
    failed_at: str
    waiting_since: str
    number: str = ASIDE
    order: Sequence[str]


class DocumentFailures(FailureStore):
    """The failures of a collection; what changes them is a transaction of its own."""

    def __init__(self, storage: "Storage", shape: Shape) -> None:
        self._storage = storage
        self._shape = shape
        self._rows: Documents = storage.collection(shape.collection)
        self._numbers: Documents = storage.collection(COUNTERS)

    async def find(
        self,
        wanted: FailureFilter = ALL_FAILURES,
        *,
        after: str | None = None,
        until: str | None = None,
        limit: int = 100,
        newest_first: bool = False,
    ) -> list[Failure]:
        """Up to `limit` failures that match."""
        order = self._shape.order
        conditions = self._matching(wanted, until)
        if after is not None:
            conditions.append(_behind(order, _read(after, order), newest_first=newest_first))
        direction = -1 if newest_first else 1
        if limit <= 0:
            return []
        return await self._load(conditions, direction=direction, limit=limit)

    async def get(self, entry_id: UUID) -> Failure:
        """One failure."""
        named = {self._shape.entry_id: entry_id}
        found = await self._load([self._shape.is_failure, named], limit=1)
        if not found:
            raise NoSuchFailureError(entry_id)
        return found[0]

    async def _load(
        self, conditions: Sequence[Document], *, direction: int = 1, limit: int
    ) -> list[Failure]:
        async with translated():
            found = await self._found(conditions, direction=direction, limit=limit)
        return [self.loaded(row, in_hand=in_hand) for row, in_hand in found]

    async def _found(
        self,
        conditions: Sequence[Document],
        *,
        direction: int = 1,
        limit: int = 0,
        session: "AsyncClientSession | None" = None,
    ) -> list[tuple[Document, bool]]:
        """Documents, and whether somebody has them in hand by the clock of the server."""
        now = await server_time(self._storage.database)
        order = [(place, direction) for place in self._shape.order]
        cursor = self._rows.find(
            {"$and": list(conditions)}, sort=order, limit=limit, session=session
        )
        return [(row, (row.get(LEASED) or now) > now) for row in await cursor.to_list()]

    def loaded(self, row: Document, *, in_hand: bool) -> Failure:
        """The failure of a document."""
        shape = self._shape
        position = json.dumps([_value(row, place) for place in shape.order], default=_text)
        return shape.load(row, aware(_value(row, shape.failed_at)), in_hand, position)

    async def tally(
        self,
        wanted: FailureFilter = ALL_FAILURES,
        *,
        edges: Sequence[datetime] = (),
        until: str | None = None,
    ) -> list[FailureTally]:
        """How many match."""
        shape = self._shape
        moment = f"${shape.failed_at}"
        kinds = {name: f"${shape.places[name]}" for name in _KINDS if name in shape.places}
        stretch = _stretch(moment, [ceiled(edge) for edge in edges])
        counted = {
            "count": {"$sum": 1},
            "first": {"$min": moment},
            "last": {"$max": moment},
        }
        pipeline: list[Document] = [
            {"$match": {"$and": self._matching(wanted, until)}},
            {"$group": {KEY: {**kinds, "stretch": stretch}, **counted}},
        ]
        async with translated():
            cursor = await self._rows.aggregate(pipeline, allowDiskUse=True)
            found = await cursor.to_list()
        return [self._tally(each) for each in found]

    def _tally(self, row: Document) -> FailureTally:
        shape, kind = self._shape, {**self._shape.same, **row[KEY]}
        return FailureTally(
            error_type=kind.get("error_type") or "",
            handler=kind.get("handler") or shape.nameless,
            consumer_group=kind.get("consumer_group") or "",
            stretch=int(row[KEY].get("stretch") or 0),
            count=int(row["count"]),
            first_at=aware(row["first"]),
            last_at=aware(row["last"]),
        )

    async def figures(self) -> StoreFigures:
        """How much waits and how much failed, by channel."""
        shape = self._shape
        async with translated():
            at = await server_time(self._storage.database)
            waiting = await self._by_channel(shape.is_waiting, shape.waiting_since)
            failed = await self._by_channel(shape.is_failure, shape.failed_at)
        return StoreFigures.of(aware(at), waiting, failed)

    async def _by_channel(
        self, which: Document | None, since: str
    ) -> dict[str, tuple[int, datetime]]:
        if which is None:
            return {}
        counted = {KEY: "$channel", "count": {"$sum": 1}, "first": {"$min": f"${since}"}}
        cursor = await self._rows.aggregate([{"$match": which}, {"$group": counted}])
        return {
            row[KEY]: (int(row["count"]), aware(row["first"])) for row in await cursor.to_list()
        }

    async def mark(self) -> str:
        """The number of what was put aside last: what comes later has a larger one."""
        async with translated():
            known = await self._numbers.find_one({KEY: self._counted_as})
        return str(0 if known is None else int(known["last"]))

    @property
    def _counted_as(self) -> str:
        return aside_of(self._shape.collection)

    async def retry(self, entry_ids: Sequence[UUID]) -> ActionResult:
        """Give failures back, at their old places."""
        return await self._act(entry_ids, self._give_back)

    async def discard(self, entry_ids: Sequence[UUID]) -> ActionResult:
        """Remove failures."""
        return await self._act(entry_ids, self._remove)

    @abstractmethod
    async def _give_back(self, session: "AsyncClientSession", keys: list[Any]) -> object:
        """What a retry does to documents."""

    @abstractmethod
    async def _remove(self, session: "AsyncClientSession", keys: list[Any]) -> object:
        """What discarding does to documents."""

    async def _act(self, entry_ids: Sequence[UUID], change: Change) -> ActionResult:
        ids = check_ids(entry_ids)

        async def act(session: "AsyncClientSession") -> dict[UUID, FailureOutcome]:
            free, outcomes = await self.take(session, ids)
            if free:
                await change(session, [row[KEY] for row in free])
            return outcomes

        return outcomes_of(ids, await self.run(act) if ids else {})

    async def run[T](self, work: "Callable[[AsyncClientSession], Awaitable[T]]") -> T:
        """In a transaction; of two that change one document, one sees what the other did."""
        return await in_transaction(self._storage.database.client, work)

    async def take(
        self, session: "AsyncClientSession", ids: Sequence[UUID]
    ) -> tuple[list[Document], dict[UUID, FailureOutcome]]:
        """The documents of failures that nobody has in hand, in order, and what is done to each."""
        shape = self._shape
        named = {shape.entry_id: {"$in": list(ids)}}
        free: list[Document] = []
        outcomes: dict[UUID, FailureOutcome] = {}
        for row, in_hand in await self._found([shape.is_failure, named], session=session):
            entry_id: UUID = _value(row, shape.entry_id)
            if in_hand:
                outcomes[entry_id] = FailureOutcome.IN_HAND
            else:
                outcomes.setdefault(entry_id, FailureOutcome.DONE)
                free.append(row)
        return free, outcomes

    def _matching(
        self, wanted: FailureFilter = ALL_FAILURES, until: str | None = None
    ) -> list[Document]:
        shape = self._shape
        found = [shape.is_failure]
        for name, value in wanted.named().items():
            if isinstance(value, datetime):
                word = "$gte" if name == "since" else "$lt"
                found.append({shape.failed_at: {word: ceiled(value)}})
            elif name in shape.same:
                found += [] if value == shape.same[name] else [_NONE]
            elif name in _KINDS and value in {"", shape.nameless}:
                found.append({shape.places[name]: {"$in": [None, "", value]}})
            else:
                found.append({shape.places[name]: {"$eq": value}})
        if until is not None:
            try:
                found.append({shape.number: {"$lte": int(until)}})
            except ValueError as error:
                raise FailureTokenError("find", f"{until!r} is no mark of a collection") from error
        return found


_KINDS = ("error_type", "handler", "consumer_group")


def aside_of(collection: str) -> str:
    """Under which name what is put aside in a collection is numbered."""
    return f"{collection} {ASIDE}"


def _stretch(moment: str, edges: Sequence[datetime], first: int = 0) -> Any:
    """How many edges are not after a moment: halved again and again, as few comparisons."""
    if not edges:
        return {"$literal": first}
    middle = len(edges) // 2
    before = _stretch(moment, edges[:middle], first)
    after = _stretch(moment, edges[middle + 1 :], first + middle + 1)
    return {"$cond": [{"$lt": [moment, edges[middle]]}, before, after]}


def _value(row: Document, place: str) -> Any:
    value: Any = row
    for name in place.split("."):
        value = value.get(name)
    return value


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _read(position: str, order: Sequence[str]) -> list[Any]:
    """The values of a position."""
    try:
        said: list[Any] = json.loads(position)
        return [_reader(place)(value) for place, value in zip(order, said, strict=True)]
    except (ValueError, TypeError, AttributeError) as error:
        raise FailureTokenError("find", f"{position!r} is no position here") from error


def _reader(place: str) -> Callable[[Any], Any]:
    if place.endswith("_at"):
        return lambda value: naive(datetime.fromisoformat(value))
    if place.startswith(KEY):
        return UUID if place.endswith("id") else str
    return (lambda value: value and int(value)) if place.endswith(FINER) else int


def _behind(order: Sequence[str], values: Sequence[Any], *, newest_first: bool) -> Document:
    """Whether a document comes after a position."""
    word = "lt" if newest_first else "gt"
    if len(order) == 1:
        return {order[0]: {f"${word}": values[0]}}
    # The first for an index; of all, what is missing comes before what is there.
    further = {f"${word}": [[{"$ifNull": [f"${place}", None]} for place in order], list(values)]}
    return {order[0]: {f"${word}e": values[0]}, "$expr": further}
