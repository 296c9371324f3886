"""DTO classes made from a model."""

from dataclasses import MISSING
from datetime import datetime
from threading import Lock
from typing import Annotated, Any, NamedTuple
from warnings import catch_warnings, filterwarnings
from weakref import WeakKeyDictionary

from pydantic import AwareDatetime, Field, create_model

from varco_domain._errors import ModelDefinitionError
from varco_domain._fields import FieldKind, FieldMeta
from varco_domain.dto._base import AuditedReadDTO, CreateDTO, ReadDTO, UpdateDTO
from varco_domain.meta import MetaReader, ParsedMeta

_INT64 = 2**63

# Protected by _lock: the classes of a model are made once.
_made: WeakKeyDictionary[type, "DTOSet"] = WeakKeyDictionary()
_lock = Lock()


class DTOSet(NamedTuple):
    """The three classes of a model."""

    create: type[CreateDTO]
    read: type[ReadDTO]
    update: type[UpdateDTO]


def generate_dtos(domain_cls: type) -> DTOSet:
    """Return the create, read and update classes of a model; always the same ones.

    The limits of the fields are theirs. Fields that the library keeps (generated keys, tenant,
    audit times, version, deletion mark) are in none but the read class.

    Raises:
        ModelDefinitionError: A field is called like one that DTOs have already (``op``).
    """
    with _lock:
        made = _made.get(domain_cls)
        if made is None:
            made = _made[domain_cls] = _make(MetaReader.read(domain_cls))
        return made


def writable_fields(meta: ParsedMeta) -> dict[str, FieldMeta]:
    """Return the fields that a caller may set on creation."""
    system = meta.system_fields
    return {name: field for name, field in meta.fields.items() if name not in system}


def _make(meta: ParsedMeta) -> DTOSet:
    create: dict[str, Any] = {}
    update: dict[str, Any] = {}
    for name, field in writable_fields(meta).items():
        _check_name(meta, name)
        limited = _limited(field)
        create[name] = (limited | None if field.nullable else limited, _default(field))
        if not field.primary_key:
            update[name] = (limited | None if field.nullable else limited, _unset())
    read: dict[str, Any] = {
        name: (_plain(field), Field())
        for name, field in meta.fields.items()
        if name not in AuditedReadDTO.model_fields or name not in _audit(meta)
    }
    if meta.is_composite_pk:
        read["pk"] = (meta.pk_type, Field())
    name = meta.entity_cls.__name__
    base: type[ReadDTO] = AuditedReadDTO if _audit(meta) else ReadDTO
    module = meta.entity_cls.__module__
    with catch_warnings():
        # A field may be called like a method that pydantic keeps for version 1, such as "json".
        filterwarnings("ignore", 'Field name ".*" in ".*" shadows an attribute', UserWarning)
        return DTOSet(
            create_model(f"Create{name}", __base__=CreateDTO, __module__=module, **create),
            create_model(f"{name}Read", __base__=base, __module__=module, **read),
            create_model(f"Update{name}", __base__=UpdateDTO, __module__=module, **update),
        )


def _check_name(meta: ParsedMeta, name: str) -> None:
    of_pydantic = name.startswith("model_") and hasattr(CreateDTO, name)
    if of_pydantic or name in UpdateDTO.model_fields:
        raise ModelDefinitionError(
            meta.entity_cls.__name__,
            name,
            "generated DTOs have another use for this name; rename it, or write DTOs of your own",
        )


def _unset() -> Any:
    """The default of an update's field: it is never looked at, and null may not be allowed."""
    return Field(default=None, json_schema_extra=_drop_default)


def _drop_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


def _audit(meta: ParsedMeta) -> frozenset[str | None]:
    names = (meta.created_at_field, meta.updated_at_field)
    return frozenset(names) if names == ("created_at", "updated_at") else frozenset()


def _plain(field: FieldMeta) -> Any:
    return field.annotation | None if field.nullable else field.annotation


def _limited(field: FieldMeta) -> Any:
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


def _default(field: FieldMeta) -> Any:
    # A key's None stands for "not saved yet": who assigns keys has to give one.
    if not field.has_default or (field.primary_key and field.default is None):
        return Field()
    if field.default_factory is MISSING:
        return Field(default=field.default)
    return Field(default_factory=field.default_factory)
