"""The columns of an envelope, which outbox, inbox and dead letters share."""

import json
from collections.abc import Mapping
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
    """The row of an entry."""
    row = {name: getattr(entry, name) for name in fields}
    row["headers"] = dumped(row["headers"])
    return row


def loaded(row: Any, fields: tuple[str, ...]) -> dict[str, Any]:
    """The fields of a row, which come first in it."""
    values: dict[str, Any] = dict(zip(fields, row, strict=False))
    values["headers"] = {} if values["headers"] is None else json.loads(values["headers"])
    values["version"] = values["version"] or 1
    return values


def dumped(headers: Mapping[str, str]) -> str | None:
    """Headers as they are stored; most events have none."""
    return json.dumps(dict(headers)) if headers else None
