"""DTO classes made from a model."""

from collections.abc import Collection
from threading import Lock
from typing import Any, NamedTuple, Optional
from warnings import catch_warnings, filterwarnings
from weakref import WeakKeyDictionary

from pydantic import BaseModel, Field, create_model

from varco_domain._errors import ModelDefinitionError
from varco_domain._fields import FieldMeta
from varco_domain.dto._base import AuditedReadDTO, CreateDTO, ReadDTO, UpdateDTO
from varco_domain.dto._declared import ASKED_FOR, OP, Part, is_optional, unset
from varco_domain.dto._operation import UpdateOperation
from varco_domain.dto._selection import Selection, chosen
from varco_domain.meta import MetaReader, ParsedMeta

# Protected by _lock: the classes of a model are made once.
_made: WeakKeyDictionary[type, dict[Any, "DTOSet"]] = WeakKeyDictionary()
_lock = Lock()


class DTOSet(NamedTuple):
    """The three classes of a model: a CreateDTO, a ReadDTO and an UpdateDTO.

    They are made when the program runs, so type checkers do not see their fields.
    """

    create: type[Any]
    read: type[Any]
    update: type[Any]


def generate_dtos(
    domain_cls: type, *, exclude: Collection[str] = (), include: Collection[str] = ()
) -> DTOSet:
    """The create, read and update classes of a model; for the same arguments the same ones.

    The limits of the fields are theirs. Fields that the library keeps (generated keys, audit
    times, version, deletion mark) are in none but the read class, the tenant in none.

    Args:
        domain_cls: The model.
        exclude: Fields that none of the classes has.
        include: Fields of the model, which has no other ones then but its key; and, with or
            without these, what the classes have where it is asked for: `op` and
            `expected_version` of an update, and the tenant's field when it is read.

    Raises:
        ModelDefinitionError: A name in `exclude` or `include` means nothing to the model, or a
            field is called like one that DTOs have already.
    """
    key = (frozenset(exclude), frozenset(include))
    with _lock:
        known = _made.setdefault(domain_cls, {})
        if key not in known:
            meta = MetaReader.read(domain_cls)
            known[key] = _make(meta, chosen(meta, exclude, include))
        return known[key]


def _make(meta: ParsedMeta, selection: Selection) -> DTOSet:
    check_names(meta, selection)
    model = meta.entity_cls
    name = model.__name__
    create: dict[str, Any] = {
        field: (_plain(meta.fields[field]), unset() if is_optional(meta.fields[field]) else Field())
        for field in selection.create
    }
    update: dict[str, Any] = {
        field: (_plain(meta.fields[field]), unset()) for field in selection.update
    }
    for field in selection.asked_for:
        update[field] = (
            (UpdateOperation, UpdateOperation.REPLACE) if field == OP else (int | None, None)
        )
    base: type[ReadDTO] = AuditedReadDTO if selection.audited else ReadDTO
    read: dict[str, Any] = {
        field: (_plain(meta.fields[field]), Field())
        for field in selection.read
        if field not in base.model_fields or field == "pk"
    }
    if meta.is_composite_pk:
        read["pk"] = (meta.pk_type, Field())

    def make(title: str, part: Part, base: type[BaseModel], fields: dict[str, Any]) -> type[Any]:
        declared = {"model": model, "exclude": selection.left_out(meta, part)}
        made: type[Any] = create_model(
            title, __base__=base, __module__=model.__module__, __cls_kwargs__=declared, **fields
        )
        return made

    with catch_warnings():
        # A field may be called like a method that pydantic keeps for version 1, such as "json".
        filterwarnings("ignore", 'Field name ".*" in ".*" shadows an attribute', UserWarning)
        return DTOSet(
            make(f"Create{name}", Part.CREATE, CreateDTO, create),
            make(f"{name}Read", Part.READ, base, read),
            make(f"Update{name}", Part.UPDATE, UpdateDTO, update),
        )


def check_names(meta: ParsedMeta, selection: Selection) -> None:
    """Check that no field is called like something else that DTOs have.

    Raises:
        ModelDefinitionError: One is.
    """
    for name in (*selection.create, *selection.read, *selection.update):
        of_pydantic = name.startswith("model_") and hasattr(CreateDTO, name)
        if of_pydantic or name in ASKED_FOR:
            raise ModelDefinitionError(
                meta.entity_cls.__name__,
                name,
                "generated DTOs have another use for this name; rename it, or write DTOs of "
                "your own",
            )


def _plain(field: FieldMeta) -> Any:
    annotation: Any = field.annotation
    return Optional[annotation] if field.nullable else annotation  # noqa: UP045 - of a value
