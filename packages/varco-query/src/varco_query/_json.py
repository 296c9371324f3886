"""Trees as JSON: a flat list in postfix, so that depth costs nothing."""

import json
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, cast
from uuid import UUID

from varco_query._errors import InvalidNodeError, QueryError, QueryLimitError, QuerySyntaxError
from varco_query._limits import Limits
from varco_query._literals import literal, parse_date, parse_datetime, parse_duration, parse_time
from varco_query._node import TransformerNode, from_flat, to_flat

# What JSON has no type for is `{"decimal": "1.50"}`.
_NAMES: Final[dict[type, str]] = {
    Decimal: "decimal",
    datetime: "datetime",
    date: "date",
    time: "time",
    timedelta: "duration",
    UUID: "uuid",
}
_READERS: Final[dict[str, Callable[[str], Any]]] = {
    "decimal": Decimal,
    "datetime": parse_datetime,
    "date": parse_date,
    "time": parse_time,
    "duration": parse_duration,
    "uuid": UUID,
}


def to_json(node: TransformerNode) -> str:
    """The tree as JSON: `[["pk", ">", 10], ["published", "=", true], ["AND", 2]]`."""
    return dump_json(to_flat(node))


def dump_json(value: Any) -> str:
    """Compact JSON of lists and values of queries."""
    return json.dumps(value, default=_tagged, ensure_ascii=False, separators=(",", ":"))


def from_json(text: str | bytes, limits: Limits | None = None) -> TransformerNode:
    """The tree that `to_json` wrote, whoever says so: it is checked like text.

    Raises:
        QuerySyntaxError: It is no JSON.
        QueryLimitError: It is longer, deeper or larger than the limits, by default `Limits()`.
        QueryError: It is no tree, or holds what no node may hold.
    """
    limits = limits or Limits()
    entries = load_json(text, limits.max_length)
    return limits.check(from_flat(entries))


def load_json(text: str | bytes, max_length: int) -> list[Any]:
    """The list that `dump_json` wrote.

    Raises:
        QueryError: It is something else.
    """
    if len(text) > max_length:
        raise QueryLimitError("max_length", max_length, len(text))
    try:
        entries: Any = json.loads(text, object_hook=_untagged, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise QuerySyntaxError(f"this is no JSON: {error.msg}").at(error.doc, error.pos) from None
    except (ValueError, RecursionError) as error:
        raise InvalidNodeError(f"this JSON is no query: {error}") from None
    if type(entries) is not list:
        raise InvalidNodeError("a query in JSON is a list of its nodes in postfix")
    return cast("list[Any]", entries)  # type: ignore[redundant-cast]  # not so for pyright


def _tagged(value: Any) -> dict[str, str]:
    return {_NAMES[type(value)]: literal(value)}


def _untagged(item: dict[str, Any]) -> Any:
    if len(item) == 1:
        ((name, text),) = item.items()
        if name in _READERS and isinstance(text, str):
            try:
                return _READERS[name](text)
            except QueryError:
                raise
            except (ValueError, ArithmeticError):
                raise InvalidNodeError(f"{text!r} is no {name}") from None
    raise InvalidNodeError(f"a value of a query is one of {', '.join(_READERS)}, not an object")


def _refuse(name: str) -> Any:
    raise InvalidNodeError(f"{name} is no value of a query")
