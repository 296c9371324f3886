"""Whether DTOs that somebody wrote fit a model whose names they use."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from varco_domain._errors import ModelDefinitionError
from varco_domain._fields import FieldMeta
from varco_domain._hooks import untouched
from varco_domain.dto._declared import ASKED_FOR
from varco_domain.meta import MetaReader, ParsedMeta


def check_dtos(
    assembler_cls: Any,
    meta: ParsedMeta,
    writable: Mapping[str, FieldMeta],
    dtos: tuple[Any, Any, Any],
) -> None:
    """Check the (create, read, update) classes that an assembler takes over name by name.

    What a subclass of the assembler does by itself is not checked, nor is a type variable.

    Raises:
        ModelDefinitionError: A field would be dropped, or one that is needed is not there.
    """
    create, read, update = (getattr(dto, "model_fields", None) for dto in dtos)
    model: Any = meta.entity_cls
    if create and untouched(assembler_cls.to_domain):
        _refuse(dtos[0], set(create) - set(writable), f"{model.__name__} does not let it be set")
        needed = {
            f.name
            for f in MetaReader.domain_fields(model)
            if f.init and not meta.fields[f.name].has_default
        }
        _refuse(dtos[0], needed - set(create), f"it is not there, and {model.__name__} needs it")
    if update and untouched(assembler_cls.apply_update):
        changeable = {name for name, field in writable.items() if not field.primary_key}
        unknown = set(update) - changeable - set(ASKED_FOR)
        _refuse(dtos[2], unknown, f"{model.__name__} does not let it be changed")
    if read and untouched(assembler_cls.to_read_dto):
        absent = {
            name
            for name, field in read.items()
            if field.is_required()
            and not _has(model, name)
            and (
                field.validation_alias is None
                or (
                    isinstance(field.validation_alias, str)
                    and not _has(model, field.validation_alias)
                )
            )
        }
        _refuse(dtos[1], absent, f"{model.__name__} has no such attribute")


def aliases(model: Any, read: Any) -> dict[str, str]:
    """The attributes behind the aliases of a read class whose names the model has."""
    return {
        field.validation_alias: name
        for name, field in read.model_fields.items()
        if isinstance(field.validation_alias, str)
        and _has(model, name)
        and not _has(model, field.validation_alias)
    }


@lru_cache(maxsize=512)
def may_have(cls: Any, name: str) -> bool:
    """Tell whether DTOs of a class may have an attribute: asking a pydantic one in vain is slow.

    What was set past pydantic, as by an adapter that knows the version from a header, is in the
    `__dict__` of the one DTO.
    """
    return (
        not issubclass(cls, BaseModel)
        or name in cls.model_fields
        or cls.model_config.get("extra") == "allow"
        or any(name in base.__dict__ for base in cls.__mro__)
    )


def _has(model: Any, name: str) -> bool:
    return name in MetaReader.read(model).fields or hasattr(model, name)


def _refuse(dto_cls: Any, names: Iterable[str], reason: str) -> None:
    name = min(names, default=None)
    if name is not None:
        raise ModelDefinitionError(dto_cls.__name__, name, reason)
