"""The tables of the outbox, the inbox and the dead letters."""

from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from varco_sa._dialects import COUNTED, SHORT_CHANNEL, index_of
from varco_sa._envelopes import envelope_columns
from varco_sa._types import Bytes, Identifier, Integer, Text, Timestamp

LINE: Final = "ix_varco_outbox_line"
"""The index that has the entries of a key in their order."""
READY: Final = "ix_varco_outbox_ready"
"""The one in which a claim finds what is ready, and nothing else."""


@dataclass(frozen=True, slots=True)
class SystemTables:
    """The three tables, in the metadata of the models."""

    outbox: sa.Table
    inbox: sa.Table
    dead_letters: sa.Table


def system_tables(metadata: sa.MetaData) -> SystemTables:
    """The tables, made in `metadata` if they are not there."""
    if "varco_outbox" in metadata.tables:
        return SystemTables(
            *(metadata.tables[f"varco_{name}"] for name in ("outbox", "inbox", "dead_letters"))
        )
    behind: sa.Column[int | None] = sa.Column("behind", Integer())
    outbox = sa.Table(
        "varco_outbox",
        metadata,
        sa.Column("seq", Integer(), primary_key=True, autoincrement=True),
        sa.Column("entry_id", Identifier(), nullable=False),
        sa.Column("event_type", Text(length=255), nullable=False),
        sa.Column("channel", Text(length=255), nullable=False),
        sa.Column("key", Text(length=500, in_key=True)),
        sa.Column("payload", Bytes(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.Column("attempts", Integer(), nullable=False),
        sa.Column("available_at", Timestamp()),
        sa.Column("last_error", Text()),
        sa.Column("leased_until", Timestamp()),
        sa.Column("claim_id", Identifier()),
        sa.Column("parked", sa.Boolean(), nullable=False),
        sa.Column("parked_at", Timestamp()),
        sa.Column("error_type", Text(length=255)),
        *envelope_columns(),
        # Until which entry of its key is gone no claim looks at this one; null for most.
        behind,
        sa.UniqueConstraint("entry_id", name="uq_varco_outbox_entry_id"),
        sa.Index(LINE, "key", "parked", "seq"),
        sa.Index("ix_varco_outbox_parked", "parked", "seq"),
        # A claim looks at no entry that is parked, postponed or behind another.
        sa.Index(READY, "parked", "behind", "available_at", "seq"),
        sa.Index("ix_varco_outbox_behind", behind, **index_of(behind.is_not(None))),
        **COUNTED,
    )
    inbox = sa.Table(
        "varco_inbox",
        metadata,
        sa.Column("entry_id", Identifier(), primary_key=True),
        sa.Column("handler_name", Text(length=255), primary_key=True),
        sa.Column("event_type", Text(length=255), nullable=False),
        sa.Column("channel", Text(length=255), nullable=False),
        sa.Column("payload", Bytes(), nullable=False),
        sa.Column("received_at", Timestamp(), nullable=False),
        sa.Column("processed_at", Timestamp()),
        sa.Column("key", Text()),
        sa.Column("attempts", Integer()),
        sa.Column("leased_until", Timestamp()),
        sa.Column("last_error", Text()),
        sa.Column("available_at", Timestamp()),
        sa.Column("failed_at", Timestamp()),
        sa.Column("error_type", Text(length=255)),
        sa.Column("consumer_group", Text(length=200)),
        sa.Column("claim_id", Identifier()),
        *envelope_columns(),
        sa.Index("ix_varco_inbox_processed_at", "processed_at", "received_at"),
    )
    dead_letters = sa.Table(
        "varco_dead_letters",
        metadata,
        sa.Column("seq", Integer(), primary_key=True, autoincrement=True),
        sa.Column("entry_id", Identifier(), nullable=False),
        sa.Column("payload", Bytes(), nullable=False),
        sa.Column("channel", Text(length=255), nullable=False),
        sa.Column("handler_name", Text(length=255), nullable=False),
        sa.Column("error_type", Text(length=255), nullable=False),
        sa.Column("error_message", Text(), nullable=False),
        sa.Column("attempts", Integer(), nullable=False),
        sa.Column("first_failed_at", Timestamp(), nullable=False),
        sa.Column("last_failed_at", Timestamp(), nullable=False),
        sa.Column("failed_at", Timestamp()),
        sa.Column("leased_until", Timestamp()),
        sa.Column("event_type", Text()),
        sa.Column("key", Text()),
        sa.Column("envelope_channel", Text()),
        sa.Column("consumer_group", Text(length=200)),
        sa.Column("origin", Text()),
        sa.Column("claim_id", Identifier()),
        *envelope_columns(),
        sa.UniqueConstraint("entry_id", name="uq_varco_dead_letters_entry_id"),
        # What operators choose by.
        sa.Index(
            "ix_varco_dead_letters_kind",
            "handler_name",
            "error_type",
            "consumer_group",
            "seq",
            "failed_at",
            "last_failed_at",
        ),
        sa.Index("ix_varco_dead_letters_channel", "channel", "seq", "failed_at", "last_failed_at"),
        **COUNTED,
    )
    _index_failures(
        outbox,
        ("parked", "error_type", "channel", "parked_at", "created_at"),
        outbox.c.parked == sa.true(),
    )
    _index_failures(
        inbox,
        (
            "processed_at",
            "handler_name",
            "error_type",
            "consumer_group",
            "channel",
            "failed_at",
        ),
        sa.and_(inbox.c.processed_at.is_(None), inbox.c.failed_at.is_not(None)),
    )
    waits = sa.and_(inbox.c.processed_at.is_(None), inbox.c.failed_at.is_(None))
    sa.Index(
        "ix_varco_inbox_waiting",
        inbox.c.processed_at,
        inbox.c.failed_at,
        inbox.c.channel,
        inbox.c.received_at,
        **index_of(waits),
    )
    return SystemTables(outbox, inbox, dead_letters)


def _index_failures(
    table: sa.Table, columns: tuple[str, ...], which: sa.ColumnElement[bool]
) -> None:
    """What operators count is read from an index alone; what did not fail is not in it.

    The first column is the same in all that is: a planner then takes it for the best of those that
    begin so.
    """
    sa.Index(
        f"ix_{table.name}_failures",
        *(table.c[name] for name in columns),
        **index_of(which),
        **SHORT_CHANNEL,
    )
