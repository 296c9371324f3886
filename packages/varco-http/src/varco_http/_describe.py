"""The parameters of a list, described for OpenAPI 3.1, with examples that run."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from varco_http._query import QueryReader
from varco_query import AndNode, Operation, QueryError, QueryField, render
from varco_query.compile import operator_of

_SAMPLES: Final[dict[type, Any]] = {
    bool: True,
    int: 1,
    float: 1.5,
    str: "abc",
    Decimal: Decimal("9.99"),
    datetime: datetime(2026, 1, 31, 12, tzinfo=UTC),
    date: date(2026, 1, 31),
    time: time(12),
    timedelta: timedelta(hours=1),
    UUID: UUID("018f3c1e-7a00-7000-8000-000000000001"),
}
_TRIED: Final = (Operation.EQUAL, Operation.CONTAINS, Operation.GREATER_EQUAL)
_EXAMPLES: Final = 4
_CHOICES: Final = 20


def filter_examples(reader: QueryReader) -> list[str]:
    """Filters that the reader takes, one for several kinds of field."""
    found: dict[str, Any] = {}
    for name in reader.schema.fields:
        field = reader.schema.field(name)
        sample = field.choices[0] if field.choices else _SAMPLES.get(field.type)
        for op in _TRIED:
            key = f"{field.type.__name__} {op}"
            if sample is None or key in found or op not in (field.operations or ()):
                continue
            try:
                found[key] = reader.schema.comparison(name, op, sample)
            except QueryError:
                continue
    nodes = list(found.values())[:_EXAMPLES]
    if len(nodes) > 1:
        nodes.append(AndNode(nodes[0], nodes[1]))
    return [render(node) for node in nodes]


def sort_examples(reader: QueryReader) -> list[str]:
    """Sorts that the reader takes."""
    names = [name for name in reader.schema.fields if reader.schema.field(name).sortable]
    return (
        [f"-{names[0]}", *([f"{names[1]},-{names[0]}"] if len(names) > 1 else [])] if names else []
    )


def filter_text(reader: QueryReader) -> str:
    """What a filter may say: fields, their operators, the values of enums."""
    schema = reader.schema
    fields = "\n".join(f"- `{name}`{_kind(schema.field(name))}" for name in schema.fields)
    return (
        "Which rows to give: comparisons joined by `AND`, `OR`, `NOT` and parentheses; text in "
        f"quotes. Fields and their operators:\n\n{fields}"
    )


def list_parameters(reader: QueryReader) -> list[dict[str, Any]]:
    """The parameters of a list as OpenAPI 3.1 has them."""
    limits = reader.limits
    sorts, filters = sort_examples(reader), filter_examples(reader)
    return [
        {
            "name": "filter",
            "in": "query",
            "description": filter_text(reader),
            "schema": {"type": "string", "maxLength": limits.max_length},
            "examples": _named(filters),
        },
        {
            "name": "sort",
            "in": "query",
            "description": "Fields joined by commas, with a minus to descend; null comes first.",
            "schema": {"type": "string", "maxLength": limits.max_length},
            "examples": _named(sorts),
        },
        {
            "name": "limit",
            "in": "query",
            "description": f"How many rows at most{_clamped(reader)}.",
            "schema": limit_schema(reader),
        },
        {
            "name": "cursor",
            "in": "query",
            "description": "Where the page begins: `next.cursor` or `previous.cursor` of a page "
            "with the same filter and sort.",
            "schema": {"type": "string"},
        },
        *([fields_parameter(reader)] if reader.fields else []),
        {
            "name": "total",
            "in": "query",
            "description": "Whether to count all rows, or the number at which to stop counting.",
            "schema": total_schema(),
        },
    ]


def fields_parameter(reader: QueryReader) -> dict[str, Any]:
    """The parameter that chooses what is shown."""
    return {
        "name": "fields",
        "in": "query",
        "description": "The only fields to show, joined by commas.",
        "style": "form",
        "explode": False,
        "schema": fields_schema(reader),
    }


def search_schema(reader: QueryReader) -> dict[str, Any]:
    """The schema of the body of a search."""
    text = {"type": ["string", "null"]}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "filter": {
                **text,
                "description": filter_text(reader),
                "examples": filter_examples(reader),
            },
            "sort": {**text, "examples": sort_examples(reader)},
            "limit": limit_schema(reader),
            "cursor": text,
            **({"fields": fields_schema(reader)} if reader.fields else {}),
            "total": total_schema(),
        },
    }


def limit_schema(reader: QueryReader) -> dict[str, Any]:
    """The schema of a page's size."""
    schema = {"type": "integer", "minimum": 1, "default": reader.default_limit}
    return schema if reader.over == "clamp" else {**schema, "maximum": reader.max_limit}


def fields_schema(reader: QueryReader) -> dict[str, Any]:
    """The schema of the fields to show."""
    return {
        "type": "array",
        "items": {"type": "string", "enum": list(reader.fields)},
        "minItems": 1,
        "uniqueItems": True,
    }


def total_schema() -> dict[str, Any]:
    """The schema of what to count."""
    return {"oneOf": [{"type": "boolean"}, {"type": "integer", "minimum": 1}], "default": False}


def _clamped(reader: QueryReader) -> str:
    return f"; a larger number stands for {reader.max_limit}" if reader.over == "clamp" else ""


def _kind(field: QueryField) -> str:
    words = ", ".join(f"`{operator_of(op).words}`" for op in sorted(field.operations or ()))
    kind = f" ({field.type.__name__})"
    if field.choices:
        shown = ", ".join(repr(choice) for choice in field.choices[:_CHOICES])
        kind = f" (one of {shown}{', …' if len(field.choices) > _CHOICES else ''})"
    return f"{kind}: {words}"


def _named(examples: list[str]) -> dict[str, Any]:
    return {text: {"value": text} for text in examples}
