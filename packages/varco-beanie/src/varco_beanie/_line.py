"""Which entries of the outbox may be claimed: the first ones, and of each key from its first on."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from pymongo import UpdateMany, UpdateOne

from varco_beanie._collections import KEY
from varco_beanie._envelopes import Document, Documents

if TYPE_CHECKING:
    from pymongo.asynchronous.client_session import AsyncClientSession

SEQ: Final = "seq"
PARKED: Final = "parked"
READY: Final = "ready_at"
"""From when on a claim looks at an entry; nothing while it is parked or behind another."""
AT_ONCE: Final = datetime(1970, 1, 1)  # noqa: DTZ001  # as PyMongo has them
HELD: Final = "held"
"""In entries that are or were in hand, postponed, or before others: claims look at their line."""
BEHIND: Final = "behind"
"""Behind which entry of its key one is."""
BEFORE: Final = "before"
"""How often others were put behind an entry: who removes it has to bring them forward."""
_TAIL: Final = "tail"
_USED: Final = "tail_used"

IN_LINE: Final = (READY, HELD, BEHIND, BEFORE, _TAIL, _USED)
"""What an entry has only while it is not parked."""

# How many documents are looked at together when those looked at first were behind others, and how
# often before others get their turn to write; how many at most are brought forward together.
_MANY: Final = 1000
_LOOKS: Final = 5
_TOGETHER: Final = 100


class Line:
    """One look at the outbox, in the transaction that leases what it finds.

    An entry that is behind another of its key, which is in hand or postponed, is noted to be behind
    that one; no claim looks at it again before whoever removes that one has removed the note. The
    note changes the other as well, so that its removal conflicts with this transaction.
    """

    def __init__(
        self,
        rows: Documents,
        session: "AsyncClientSession",
        now: datetime,
        limit: int,
        seen: int = 0,
    ) -> None:
        self._rows = rows
        self._session = session
        self._now = now
        self._limit = limit
        self._taken: dict[int, Document] = {}
        # Of keys with such an entry, the ones that are in hand or postponed.
        self._blocked: dict[str, list[Document]] = {}
        self._plain: set[str] = set()
        self._noted = 0
        self.goes_on = False
        self.seen = seen

    async def take(self) -> list[Document]:
        """The entries, in order. If there are none and `goes_on`, look after `seen`."""
        due = {READY: {"$gt": AT_ONCE, "$lte": self._now}}
        await self._look(due, self._limit)
        most = self._limit
        for _ in range(_LOOKS):
            rows = await self._look({READY: AT_ONCE, SEQ: {"$gt": self.seen}}, most)
            if len(rows) < most or len(self._taken) >= self._limit:
                break
            self.seen, most = rows[-1][SEQ], _MANY
        else:
            self.goes_on = self._noted > 0
        return [self._taken[place] for place in sorted(self._taken)][: self._limit]

    async def _look(self, which: Document, limit: int) -> list[Document]:
        """Take the entries whose turn it is, and note which are behind others."""
        order = [(READY, 1), (SEQ, 1)]
        found = self._rows.find(which, sort=order, limit=limit, session=self._session)
        rows = await found.to_list()
        await self._look_at_keys(rows)
        waiting: dict[int, tuple[Document, list[Document]]] = {}
        for row in rows:
            key: str | None = row.get("key")
            if key is None or key in self._plain:
                self._taken[row[SEQ]] = row
            elif row[SEQ] not in self._taken:
                before = [one for one in self._blocked[key] if one[SEQ] < row[SEQ]]
                if before:
                    waiting.setdefault(before[-1][SEQ], (before[-1], []))[1].append(row)
        for blocker, behind in waiting.values():
            await self._put_behind(blocker, behind)
        return rows

    async def _look_at_keys(self, rows: list[Document]) -> None:
        """Of keys without an entry that is held, the entries that were found are the first.

        Of the others, the line itself tells.
        """
        keys = {key for row in rows if (key := row.get("key")) is not None}
        keys -= self._blocked.keys() | self._plain
        if not keys:
            return
        held = {"key": {"$in": list(keys)}, HELD: True, PARKED: False}
        found = await self._rows.aggregate(
            [{"$match": held}, {"$group": {KEY: "$key"}}], session=self._session
        )
        for key in sorted(row[KEY] for row in await found.to_list()):
            keys.remove(key)
            await self._look_at_line(key)
        self._plain |= keys

    async def _look_at_line(self, key: str) -> None:
        found = self._rows.find(
            {"key": key, PARKED: False},
            sort=[(SEQ, 1)],
            limit=self._limit + 1,
            session=self._session,
        )
        blocked: list[Document] = []
        for row in await found.to_list():
            if (row.get(READY) or AT_ONCE) > self._now:
                blocked.append(row)
            elif not blocked:
                self._taken[row[SEQ]] = row
        self._blocked[key] = blocked

    async def _put_behind(self, blocker: Document, rows: list[Document]) -> None:
        """Note that entries are behind one, or behind those that are behind it already.

        Of a line only so many are behind one entry as may be brought forward at once.
        """
        at: int = min(blocker.get(_TAIL, blocker[SEQ]), rows[0][SEQ] - 1)
        if at != blocker.get(_TAIL):
            at = blocker[SEQ]
        used = int(blocker.get(_USED, 0)) + len(rows)
        changed: Document = {_USED: used}
        keys = [row[KEY] for row in rows]
        operations: list[Any] = [
            UpdateMany({KEY: {"$in": keys}}, {"$set": {BEHIND: at}, "$unset": {READY: ""}})
        ]
        if used >= _TOGETHER:
            changed = {_USED: 0, _TAIL: rows[-1][SEQ]}
            operations.append(UpdateOne({KEY: keys[-1]}, {"$set": {HELD: True}}))
        operations.append(UpdateOne({KEY: blocker[KEY]}, {"$set": changed, "$inc": {BEFORE: 1}}))
        if at != blocker[SEQ]:
            before = {"key": blocker["key"], PARKED: False, SEQ: at}
            operations.append(UpdateOne(before, {"$inc": {BEFORE: 1}}))
        blocker.update(changed)
        self._noted += len(rows)
        await self._rows.bulk_write(operations, session=self._session)
