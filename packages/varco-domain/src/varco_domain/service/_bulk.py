"""Conditions that name rows by their keys."""

from collections.abc import Sequence
from typing import Any

from varco_domain.exception import ServiceNotFoundError, ServiceValidationError
from varco_domain.meta import ParsedMeta
from varco_domain.validation import ValidationError
from varco_query import (
    AndNode,
    ComparisonNode,
    InvalidNodeError,
    Operation,
    OrNode,
    TransformerNode,
)


def key_conditions(meta: ParsedMeta, pks: Sequence[Any]) -> TransformerNode:
    """The condition of the rows with these keys.

    Raises:
        ServiceValidationError: A key is named twice.
        ServiceNotFoundError: A key has a shape that no row has.
    """
    seen: set[Any] = set()
    rows: list[tuple[Any, ...]] = []
    for index, pk in enumerate(pks):
        try:
            values = meta.pk_values(pk)
            if values in seen:
                error = ValidationError(f"the key {pk!r} is named twice", "pk", index)
                raise ServiceValidationError(str(error), "pk", errors=[error])
            seen.add(values)
        except (TypeError, ValueError):
            raise ServiceNotFoundError(pk, meta.entity_cls) from None
        rows.append(values)
    try:
        if not meta.is_composite_pk:
            return ComparisonNode(meta.pk_fields[0], Operation.IN, [row[0] for row in rows])
        return OrNode(
            *(
                AndNode(
                    *(
                        ComparisonNode(name, Operation.EQUAL, value)
                        for name, value in zip(meta.pk_fields, row, strict=True)
                    )
                )
                for row in rows
            )
        )
    except InvalidNodeError:
        raise ServiceNotFoundError(pks[0], meta.entity_cls) from None
