"""What a service checks about its parts."""

from copy import deepcopy
from typing import Any, TypeVar

from varco_domain._errors import DomainError, ModelDefinitionError
from varco_domain.assembler import AbstractDTOAssembler, AutoAssembler, dtos_of
from varco_domain.meta import ParsedMeta
from varco_domain.model import DomainModel, domain_replace
from varco_domain.providers import IUoWProvider
from varco_domain.service._references import models_of
from varco_domain.service._ripple import children_of
from varco_domain.service._types import ServiceTypes


class AssemblerError(DomainError):
    """An assembler returned an entity that it may not return."""

    code = "domain.assembler"


def check_service(service_cls: Any, provider: IUoWProvider) -> None:
    """Check that a service fits its model.

    Raises:
        ModelDefinitionError: It names no model, or deletion or tenants mean another thing to each.
    """
    name: str = service_cls.__name__
    if service_cls.types is None:
        raise ModelDefinitionError(name, None, "which model? Derive from AsyncService[Post]")
    meta: ParsedMeta = service_cls._meta  # noqa: SLF001 - as above
    if (meta.deleted_at_field is not None) != service_cls._hides_deleted:  # noqa: SLF001 - as above
        model = meta.entity_cls.__name__
        raise ModelDefinitionError(
            name,
            None,
            f"{model} marks deleted entities; derive from SoftDeleteService to hide them"
            if meta.deleted_at_field is not None
            else f"{model} has no deletion mark; derive it from SoftDeleteMixin",
        )
    if meta.deleted_at_field is not None:
        for child in children_of(meta, models_of(provider).values()):
            del child  # it raises where there is one that cannot be marked
    scopes: bool = service_cls._scopes_tenants  # noqa: SLF001 - as above
    if meta.tenant_field is not None and not scopes:
        raise ModelDefinitionError(
            name, None, f"{meta.entity_cls.__name__} has tenants; derive from TenantAwareService"
        )
    if (
        scopes
        and meta.tenant_field is None
        and getattr(provider, "separates_tenants", False) is not True
    ):
        raise ModelDefinitionError(
            name,
            None,
            f"{meta.entity_cls.__name__} has no tenant field, and all tenants would share its "
            "rows; derive it from TenantMixin, or give each tenant a store (TenantUoWProvider)",
        )


def service_types(meta: ParsedMeta, arguments: tuple[Any, ...]) -> ServiceTypes:
    """What a service was declared with, and what stands for the rest."""
    _, pk, *dtos = arguments
    if pk is Any or isinstance(pk, TypeVar):
        pk = meta.pk_type
    create, read, update = dtos_of(meta.entity_cls, (dtos[0], dtos[1], dtos[2]))
    return ServiceTypes(meta.entity_cls, pk, create, read, update)


def assembler_for(service_cls: Any, given: Any) -> AbstractDTOAssembler[Any, Any, Any, Any]:
    """The assembler of a service.

    Raises:
        ModelDefinitionError: The service needs an assembler and got none.
    """
    if given is not None:
        assembler: AbstractDTOAssembler[Any, Any, Any, Any] = given
        return assembler
    model, _, *dtos = service_cls.types
    for dto in dtos:
        declared = getattr(dto, "__varco_declaration__", None)
        if declared is None or not issubclass(model, declared.model):
            raise ModelDefinitionError(
                service_cls.__name__,
                None,
                f"needs an AbstractDTOAssembler[{model.__name__}, ...] that knows {dto.__name__}; "
                f"a DTO that is declared with model={model.__name__} needs none",
            )
    create, read, update = dtos
    return AutoAssembler(model, read, create=create, update=update)


def check_assembled[D: DomainModel](entity: D) -> D:
    """An assembler's new entity.

    Raises:
        AssemblerError: It is a stored one.
    """
    if entity.is_persisted():
        raise AssemblerError(f"to_domain returned a stored {type(entity).__name__}, not a new one")
    return entity


def check_update(meta: ParsedMeta, before: DomainModel, after: DomainModel) -> None:
    """Check that an assembler left alone what is not the caller's to change.

    Raises:
        AssemblerError: It changed the key or a field that the library keeps.
    """
    for name in (*meta.pk_fields, *meta.system_fields):
        if getattr(before, name) != getattr(after, name):
            raise AssemblerError(f"apply_update changed {type(before).__name__}.{name}")
    if not after.is_persisted():
        raise AssemblerError(
            f"apply_update returned a new {type(before).__name__}; use domain_replace(entity, ...)"
        )


def snapshot[D: DomainModel](meta: ParsedMeta, entity: D) -> D:
    """A copy that shares nothing that could change."""
    return domain_replace(
        entity, **{name: deepcopy(getattr(entity, name)) for name in meta.mutable_fields}
    )
