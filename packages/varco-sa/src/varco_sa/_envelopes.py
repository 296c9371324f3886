"""The columns of an envelope, which outbox, inbox and dead letters share."""

import json
from typing import Any, Final

import sqlalchemy as sa

from varco_sa._types import Identifier, Integer, Text, Timestamp

ENVELOPE: Final = ("event_id", "version", "time", "headers")


def envelope_columns() -> list[sa.Column[Any]]:
    """What older versions had no columns for: null in their rows, whose payload tells it."""
    return [
        sa.Column("event_id", Identifier()),
        sa.Column("version", Integer()),
        sa.Column("time", Timestamp()),
        sa.Column("headers", Text()),
    ]


def stored(entry: Any, fields: tuple[str, ...]) -> dict[str, Any]:
    """The row of an entry; most have no headers."""
    row = {name: getattr(entry, name) for name in fields}
    row["headers"] = json.dumps(dict(row["headers"])) if row["headers"] else None
    return row


def loaded(row: Any, fields: tuple[str, ...]) -> dict[str, Any]:
    """The fields of a row, which come first in it."""
    values: dict[str, Any] = dict(zip(fields, row, strict=False))
    values["headers"] = {} if values["headers"] is None else json.loads(values["headers"])
    values["version"] = values["version"] or 1
    return values
