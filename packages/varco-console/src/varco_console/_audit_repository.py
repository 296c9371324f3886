"""The audit beside the entities of the application, by a repository of varco-domain."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import TypeAdapter

from varco_console._audit import AuditEntry, AuditLog, check_version, next_version
from varco_console._errors import AuditConflictError, ConsoleConfigError
from varco_domain.exception import StaleEntityError, UniqueViolationError
from varco_domain.meta import FieldHint, PKStrategy, PrimaryKey, pk_field
from varco_domain.model import VersionedDomainModel
from varco_domain.providers import IUoWProvider
from varco_query import F, QueryParams, SortField, SortOrder, TransformerNode

_ENTRIES: Final = TypeAdapter(AuditEntry)
_NEWEST: Final = (SortField("at", SortOrder.DESC), SortField("pk"))


class AuditRecord(VersionedDomainModel):
    """What somebody did in the console, as it is stored.

    Register it with the backend, as any other model: its table is made and migrated with theirs.

    Attributes:
        pk: The id of the entry.
        at: When it began.
        place: Where it was done.
        body: The entry.
    """

    class Meta:
        """Where it is kept."""

        table = "varco_console_audit"

    pk: Annotated[str, PrimaryKey(PKStrategy.STR_ASSIGNED), FieldHint(max_length=36)] = pk_field(
        init=True
    )
    at: Annotated[datetime, FieldHint(index=True)]
    place: Annotated[str, FieldHint(max_length=200, index=True)]
    body: dict[str, Any]


class RepositoryAudit(AuditLog):
    """An audit in the database of the application, shared by all of its processes.

    Of several that change an entry at once the database lets one.

    Args:
        provider: Makes units of work; knows `AuditRecord`.

    Raises:
        ConsoleConfigError: it does not.
    """

    def __init__(self, provider: IUoWProvider) -> None:
        models = getattr(provider, "models", None)
        if models is not None and AuditRecord not in models:
            raise ConsoleConfigError(
                f"{type(provider).__name__} does not know AuditRecord; register it beside the "
                "models of the application"
            )
        self._provider = provider

    async def put(self, entry: AuditEntry) -> AuditEntry:
        """Keep an entry."""
        kept = next_version(entry)
        body = _ENTRIES.dump_python(kept, mode="json")
        try:
            async with self._provider.make_uow() as uow:
                records = uow.repository(AuditRecord)
                record = await records.find_by_id(str(entry.entry_id))
                check_version(entry, None if record is None else _read(record.body).version)
                if record is None:
                    record = AuditRecord(
                        pk=str(entry.entry_id), at=entry.at, place=entry.place[:200], body=body
                    )
                else:
                    record.body = body
                await records.save(record)
        except (StaleEntityError, UniqueViolationError) as error:
            raise AuditConflictError(
                f"entry {entry.entry_id} of the audit was changed by somebody else; read it again"
            ) from error
        return kept

    async def get(self, entry_id: UUID) -> AuditEntry | None:
        """One entry."""
        async with self._provider.make_uow() as uow:
            record = await uow.repository(AuditRecord).find_by_id(str(entry_id))
        return None if record is None else _read(record.body)

    async def latest(
        self, *, place: str | None = None, before: datetime | None = None, limit: int = 50
    ) -> list[AuditEntry]:
        """The last entries."""
        wanted: list[TransformerNode] = []
        if place is not None:
            wanted.append(F.place == place)
        if before is not None:
            wanted.append(F.at < before)
        node = None
        for one in wanted:
            node = one if node is None else node & one
        async with self._provider.make_uow() as uow:
            found = await uow.repository(AuditRecord).find_by_query(
                QueryParams(node, _NEWEST, limit=limit)
            )
        return [_read(one.body) for one in found]


def _read(body: Mapping[str, Any]) -> AuditEntry:
    return _ENTRIES.validate_python(body)
