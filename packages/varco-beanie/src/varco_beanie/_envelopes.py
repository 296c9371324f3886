"""What documents of the outbox, the inbox and the dead letters hold of envelopes and moments."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from pymongo import ReturnDocument

from varco_beanie._codecs import FINER, finer, naive
from varco_beanie._collections import KEY
from varco_beanie._transaction import raise_meant

if TYPE_CHECKING:
    from pymongo.asynchronous.client_session import AsyncClientSession
    from pymongo.asynchronous.collection import AsyncCollection
    from pymongo.asynchronous.database import AsyncDatabase

type Document = dict[str, Any]
type Documents = "AsyncCollection[Document]"

LEASED: Final = "leased_until"
CLAIM: Final = "claim_id"
ASIDE: Final = "aside"
"""What was put aside later has a larger number there."""
# Among the counters: a document that grows with every claim, so that two conflict.
CLAIMS: Final = "varco_outbox claims"


def stored(entry: Any, fields: Sequence[str]) -> Document:
    """The document of an entry; moments to the microsecond, what is None left out."""
    found: Document = {}
    for name in fields:
        value = getattr(entry, name)
        if value is None:
            continue
        if isinstance(value, datetime):
            moment = value.astimezone(UTC)
            found[name] = naive(moment)
            if (rest := finer(moment)) is not None:
                found[f"{name}{FINER}"] = rest
        elif isinstance(value, Mapping):
            # The names of headers may be anything.
            found[name] = [list(each) for each in cast("Mapping[str, str]", value).items()]
        else:
            found[name] = value
    return found


def loaded(document: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """The fields of a document."""
    found: dict[str, Any] = {}
    for name in fields:
        value = document.get(name)
        if isinstance(value, datetime):
            found[name] = aware(value, document.get(f"{name}{FINER}", 0))
        elif name == "headers":
            found[name] = dict(value or ())
        else:
            found[name] = int(value) if isinstance(value, int) else value
    return found


def aware(moment: datetime, rest: int = 0) -> datetime:
    """A moment as a document has it, with its timezone."""
    return moment.replace(tzinfo=UTC, microsecond=moment.microsecond + rest)


async def server_time(database: "AsyncDatabase[Any]") -> datetime:
    """The time of the server, as a document has it: one for all who share it, unlike a host's."""
    hello: Document = await database.client.admin.command("hello")
    return cast("datetime", hello["localTime"]).replace(tzinfo=None)


def ceiled(moment: datetime) -> datetime:
    """The first moment, as documents have them, that is not before this one."""
    known = moment.astimezone(UTC)
    floor = naive(known)
    return floor if finer(known) is None else floor + timedelta(milliseconds=1)


def is_over(name: str, now: datetime) -> Document:
    """The documents in which a moment is not there, or has come."""
    return {"$or": [{name: None}, {name: {"$lte": now}}]}


async def next_number(
    counters: "Documents", name: str, count: int, session: "AsyncClientSession | None" = None
) -> tuple[int, datetime]:
    """Take so many numbers, and return the first, with the time of the server."""
    last = {"$add": [{"$ifNull": ["$last", 0]}, count]}
    found: Any = await counters.find_one_and_update(
        {KEY: name},
        [{"$set": {"last": last, "at": "$$NOW"}}],
        upsert=True,
        return_document=ReturnDocument.AFTER,
        session=session,
    )
    return int(found["last"]) - count + 1, found["at"]


@asynccontextmanager
async def translated() -> AsyncGenerator[None]:
    """Raise what a repository would for the errors of commands that stand alone."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  # looked at, and raised
        raise_meant(error, None)
