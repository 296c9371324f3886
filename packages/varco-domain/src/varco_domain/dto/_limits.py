"""The limits of a model's fields, as DTOs have them."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, Field

from varco_domain._fields import FieldKind, FieldMeta

_INT64 = 2**63


def limited(field: FieldMeta) -> Any:
    """The type of a field, without `| None`, that admits what can be stored in it."""
    annotation = field.annotation
    limits: dict[str, Any] = {}
    match field.kind:
        case FieldKind.DATETIME if annotation is datetime:
            annotation = AwareDatetime
        case FieldKind.INT:
            limits = {"ge": -_INT64, "lt": _INT64}
        case FieldKind.FLOAT:
            limits = {"allow_inf_nan": False}
        case FieldKind.DECIMAL:
            limits = {"max_digits": field.hint.precision, "decimal_places": field.hint.scale}
        case FieldKind.STR | FieldKind.BYTES:
            limits = {"max_length": field.hint.max_length}
        case _:
            pass
    limits = {name: value for name, value in limits.items() if value is not None}
    extra = (Field(**limits), *field.extra) if limits else field.extra
    for item in extra:
        annotation = Annotated[annotation, item]
    return annotation
