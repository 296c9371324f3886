"""What collections have that the models do not declare, and what they lack."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from varco_beanie._collections import KEY_INDEX
from varco_beanie._dead_letters import DEAD_LETTERS
from varco_beanie._envelopes import translated
from varco_beanie._inbox import INBOX
from varco_beanie._outbox import OUTBOX

if TYPE_CHECKING:
    from pymongo import IndexModel

    from varco_beanie._provider import BeanieRepositoryProvider

# What makes two indexes of one name different; a server adds versions and the like.
_TOLD: Final = ("unique", "sparse", "partialFilterExpression", "expireAfterSeconds", "collation")


async def schema_drift(provider: "BeanieRepositoryProvider") -> list[str]:
    """What the live collections lack or have besides the models, a line each; empty if nothing.

    It looks at collections, indexes and validators, and changes nothing. `create_collections`
    makes what is missing, leaves validators as they are, and fails at an index that differs.

    Args:
        provider: The models, and the database.
    """
    storage, lines = provider.storage, list[str]()
    wanted: dict[str, tuple[Iterable[IndexModel], dict[str, Any]]] = {
        entity.name: (entity.indexes, entity.validator) for entity in storage.entities
    }
    wanted |= {
        OUTBOX: (provider.outbox.indexes, {}),
        INBOX: (provider.inbox.indexes, {}),
        DEAD_LETTERS: (provider.dead_letters.indexes, {}),
    }
    async with translated():
        found = await provider.database.list_collections()
        live = {each["name"]: each.get("options", {}) for each in await found.to_list()}
        for name, (indexes, validator) in sorted(wanted.items()):
            if name not in live:
                lines.append(f"{name}: there is no such collection")
                continue
            if live[name].get("validator", {}) != validator:
                lines.append(f"{name}: its validator is not that of the model's checks")
            there = await storage.collection(name).list_indexes()
            known = {each["name"]: each for each in await there.to_list()}
            lines += _differences(name, [index.document for index in indexes], known)
    return lines


def _differences(
    name: str, wanted: Iterable[Mapping[str, Any]], known: Mapping[str, Mapping[str, Any]]
) -> Iterable[str]:
    declared = {str(each["name"]): each for each in wanted}
    for index, each in declared.items():
        if index not in known:
            yield f"{name}: there is no index {index}"
        elif _shape(each) != _shape(known[index]):
            yield f"{name}: the index {index} is {_shape(known[index])}, not {_shape(each)}"
    for index in sorted(known.keys() - declared.keys() - {KEY_INDEX}):
        yield f"{name}: no model declares the index {index}"


def _shape(index: Mapping[str, Any]) -> dict[str, Any]:
    told = {each: index[each] for each in _TOLD if index.get(each) not in (None, False)}
    return {"key": [(name, int(way)) for name, way in index["key"].items()], **told}
