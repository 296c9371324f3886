"""What collections have that the models do not declare, and what they lack."""

from typing import TYPE_CHECKING, Any

from varco_beanie._dead_letters import DEAD_LETTERS
from varco_beanie._envelopes import translated
from varco_beanie._inbox import INBOX
from varco_beanie._indexes import differences
from varco_beanie._outbox import OUTBOX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pymongo import IndexModel

    from varco_beanie._provider import BeanieRepositoryProvider


async def schema_drift(provider: "BeanieRepositoryProvider") -> list[str]:
    """What the live collections lack or have besides the models, a line each; empty if nothing.

    It looks at collections, indexes and validators, and changes nothing; those of documents that
    models are mapped to are not ours. `create_collections` makes what is missing, leaves
    validators as they are, and fails at an index that differs.

    Args:
        provider: The models, and the database.
    """
    storage, lines = provider.storage, list[str]()
    wanted: dict[str, tuple[Iterable[IndexModel], dict[str, Any]]] = {
        entity.name: (entity.indexes, entity.validator)
        for entity in storage.entities
        if not entity.existing
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
            lines += differences(name, [index.document for index in indexes], known)
    return lines
