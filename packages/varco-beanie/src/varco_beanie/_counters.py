"""Counted keys: one document for each collection holds the last one.

Counting is no part of a transaction: whoever inserts at the same time would wait for it, or fail.
Keys of transactions that are undone are left out, as SQL engines do.
"""

from typing import TYPE_CHECKING, Any, Final

from pymongo import DESCENDING, ReturnDocument

from varco_beanie._collections import KEY
from varco_domain.backend import ParsedMeta, no_more_keys

if TYPE_CHECKING:
    from pymongo.asynchronous.collection import AsyncCollection

COUNTERS: Final = "varco_counters"
_LAST: Final = "last"
_LIMIT: Final = 2**63


class Counter:
    """The counted keys of one collection. Safe to use from several tasks and processes."""

    def __init__(
        self,
        counters: "AsyncCollection[dict[str, Any]]",
        rows: "AsyncCollection[dict[str, Any]]",
        meta: ParsedMeta,
    ) -> None:
        self._counters = counters
        self._rows = rows
        self._meta = meta

    async def take(self, count: int) -> int:
        """Take so many keys, and return the first.

        Raises:
            ModelValueError: So many are not left.
        """
        while True:
            found = await self._counters.find_one_and_update(
                {KEY: self._rows.name, _LAST: {"$lt": _LIMIT - count}},
                {"$inc": {_LAST: count}},
                return_document=ReturnDocument.AFTER,
            )
            if found is not None:
                return int(found[_LAST]) - count + 1
            known = await self._counters.find_one({KEY: self._rows.name})
            if known is not None:
                if known[_LAST] >= _LIMIT - count:
                    raise no_more_keys(self._meta)
                continue  # somebody has just begun to count
            # The first key of a collection, which may have rows that others have put there.
            largest = await self._rows.find_one(
                {KEY: {"$type": "number"}}, {KEY: 1}, sort=[(KEY, DESCENDING)]
            )
            await self.follow(0 if largest is None else int(largest[KEY]))

    async def follow(self, key: int) -> None:
        """Count on from a key that somebody brought."""
        await self._counters.update_one(
            {KEY: self._rows.name}, {"$max": {_LAST: max(key, 0)}}, upsert=True
        )
