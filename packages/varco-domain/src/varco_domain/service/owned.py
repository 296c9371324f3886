"""Entities that belong to who made them."""

from typing import TYPE_CHECKING, Any, ClassVar, Generic

from varco_domain._errors import ModelDefinitionError
from varco_domain.auth import Action, AuthContext, Resource
from varco_domain.auth._base import refusal
from varco_domain.auth.helpers import own_id
from varco_domain.model import domain_replace
from varco_domain.service._types import PK, C, D, R, U
from varco_domain.service.mixin import ServiceMixin

if TYPE_CHECKING:
    from varco_domain.meta import ParsedMeta

__all__ = ("OwnedService",)


class OwnedService(ServiceMixin[D, PK, C, R, U], Generic[D, PK, C, R, U]):  # noqa: UP046 - the specification's type variables
    """Gives every new entity to the caller, whoever the create DTO says; nobody known makes none.

    What the owner may do then, an `OwnershipAuthorizer` says. Leave the field out of the create
    and update DTOs.

    Raises:
        ModelDefinitionError: The model has no field `owner_field`.
    """

    owner_field: ClassVar[str] = "owner_id"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        meta: ParsedMeta | None = getattr(cls, "_meta", None)
        if meta is not None and cls.owner_field not in meta.fields:
            raise ModelDefinitionError(
                meta.entity_cls.__name__,
                cls.owner_field,
                f"is no field; set {cls.__name__}.owner_field to the one that names the owner",
            )

    def _prepare_new(self, entity: D, ctx: AuthContext) -> D:
        """Give the entity to the caller.

        Raises:
            ServiceAuthorizationError: The caller is not known, or has no name that the field holds.
        """
        entity = super()._prepare_new(entity, ctx)
        owner = own_id(self._meta.fields[self.owner_field], ctx)
        if owner is None:
            raise refusal(Action.CREATE, Resource(self._entity_cls), "the caller is not known")
        return domain_replace(entity, **{self.owner_field: owner})
