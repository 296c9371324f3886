"""Domain models: typed, keyword-only classes with an identity and no ORM."""

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast, dataclass_transform

from varco_domain._build import build_model
from varco_domain._errors import ModelDefinitionError
from varco_domain._hints import FieldHint, FieldRole, pk_field, system_field

__all__ = (
    "AuditedDomainModel",
    "DomainModel",
    "SoftDeleteAuditedDomainModel",
    "SoftDeleteDomainModel",
    "SoftDeleteMixin",
    "SoftDeleteVersionedDomainModel",
    "TenantAuditedDomainModel",
    "TenantDomainModel",
    "TenantMixin",
    "TenantSoftDeleteAuditedDomainModel",
    "TenantSoftDeleteDomainModel",
    "TenantSoftDeleteVersionedDomainModel",
    "TenantVersionedDomainModel",
    "VersionedDomainModel",
    "cast_raw",
    "domain_replace",
)


class _Raw(Enum):
    DETACHED = "detached"


@dataclass_transform(
    kw_only_default=True,
    eq_default=False,
    field_specifiers=(pk_field, system_field, dataclasses.field),
)
class DomainModel:
    """Base of all entities; a subclass is a keyword-only dataclass, with or without `@dataclass`.

    Entities with a primary key compare and hash by class and key, unsaved ones by identity. A
    subclass that declares no key gets `pk: Annotated[int, PrimaryKey(PKStrategy.INT_AUTO)]`; one
    declared with `abstract=True` is a base for others and has no table.
    `__post_init__` runs on construction, not when a stored row is loaded.
    """

    if TYPE_CHECKING:
        pk: Any

    __varco_abstract__: ClassVar[bool] = True

    # The backend's own object for this entity; set on instances that came from a store.
    _raw_orm: Any = None
    # The key of the row that this entity came from, whatever its key is now.
    _stored_key: Any = None

    def __init_subclass__(cls, *, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.__varco_abstract__ = abstract
        build_model(cls, _declaration_names())

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if self.__class__ is not other.__class__:
            return NotImplemented
        pk = self.pk
        return pk is not None and bool(pk == cast("Any", other).pk)

    def __hash__(self) -> int:
        pk = self.pk
        return object.__hash__(self) if pk is None else hash((self.__class__, pk))

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        if "_raw_orm" in state:
            state["_raw_orm"] = _Raw.DETACHED
        return state

    def raw(self) -> Any:
        """The backend's own object behind this entity.

        Raises:
            LookupError: The entity did not come from a store, or was copied or unpickled since.
        """
        if self._raw_orm is None or self._raw_orm is _Raw.DETACHED:
            raise LookupError(
                f"this {type(self).__name__} has no stored object behind it; save or load it first"
            )
        return self._raw_orm

    @property
    def stored_key(self) -> Any:
        """The key of the row that the entity came from; None if it did not come from a store."""
        return self._stored_key

    def is_persisted(self) -> bool:
        """Whether the entity came from a store, so that saving it updates a row."""
        return self._raw_orm is not None


# The class statement's frame is the first one outside this package's __init_subclass__ chain.
def _declaration_names() -> Mapping[str, Any]:
    frame = sys._getframe(2)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] # the way to the caller
    while frame.f_back is not None and frame.f_code.co_name == "__init_subclass__":
        frame = frame.f_back
    if frame.f_back is not None and frame.f_code.co_name.startswith("<generic parameters of"):
        return {**frame.f_back.f_locals, **frame.f_locals}
    return frame.f_locals


class AuditedDomainModel(DomainModel, abstract=True):
    """Keeps when an entity was created and last changed; the store sets both."""

    created_at: Annotated[datetime, FieldRole.CREATED_AT] = system_field()
    updated_at: Annotated[datetime, FieldRole.UPDATED_AT] = system_field()


class VersionedDomainModel(AuditedDomainModel, abstract=True):
    """Counts its changes, so that a write based on an old state is refused."""

    version: Annotated[int, FieldRole.VERSION] = system_field()


@dataclass_transform(kw_only_default=True, eq_default=False)
class _Mixin:
    """Base of the mixins, so that type checkers see their fields."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if _Mixin in cls.__bases__:
            dataclass(kw_only=True, eq=False, repr=False)(cls)


class SoftDeleteMixin(_Mixin):
    """Marks an entity deleted instead of removing its row."""

    deleted_at: Annotated[datetime | None, FieldRole.DELETED_AT, FieldHint(index=True)] = None

    @property
    def is_deleted(self) -> bool:
        """Whether the entity is marked deleted."""
        return self.deleted_at is not None


class TenantMixin(_Mixin):
    """Belongs to one tenant; the tenant in context is set on save and never changes."""

    tenant_id: Annotated[str, FieldRole.TENANT, FieldHint(index=True, max_length=255)] = ""


class SoftDeleteDomainModel(SoftDeleteMixin, DomainModel, abstract=True):
    """A model whose deletion is a mark."""


class SoftDeleteAuditedDomainModel(SoftDeleteMixin, AuditedDomainModel, abstract=True):
    """Soft deletion and audit times."""


class SoftDeleteVersionedDomainModel(SoftDeleteMixin, VersionedDomainModel, abstract=True):
    """Soft deletion, audit times and a version."""


class TenantDomainModel(TenantMixin, DomainModel, abstract=True):
    """A model that belongs to a tenant."""


class TenantAuditedDomainModel(TenantMixin, AuditedDomainModel, abstract=True):
    """A tenant and audit times."""


class TenantVersionedDomainModel(TenantMixin, VersionedDomainModel, abstract=True):
    """A tenant, audit times and a version."""


class TenantSoftDeleteDomainModel(TenantMixin, SoftDeleteMixin, DomainModel, abstract=True):
    """A tenant and soft deletion."""


class TenantSoftDeleteAuditedDomainModel(
    TenantMixin, SoftDeleteMixin, AuditedDomainModel, abstract=True
):
    """A tenant, soft deletion and audit times."""


class TenantSoftDeleteVersionedDomainModel(
    TenantMixin, SoftDeleteMixin, VersionedDomainModel, abstract=True
):
    """A tenant, soft deletion, audit times and a version."""


def cast_raw[OT](entity: DomainModel, orm_type: type[OT]) -> OT:
    """What a backend keeps behind an entity, `entity.raw()`, once its class is checked.

    Raises:
        TypeError: The object behind the entity is of another class.
    """
    raw = entity.raw()
    if not isinstance(raw, orm_type):
        raise TypeError(
            f"behind this {type(entity).__name__} is a {type(raw).__name__}, "
            f"not a {orm_type.__name__}"
        )
    return raw


def domain_replace[D: DomainModel](entity: D, **changes: Any) -> D:
    """A copy with changes, system fields included; a stored entity's copy is stored too.

    Raises:
        ModelDefinitionError: A name is no field of the model.
    """
    names = {f.name for f in dataclasses.fields(cast("Any", entity))}
    for name in changes:
        if name not in names:
            raise ModelDefinitionError(
                type(entity).__name__, name, f"no such field; there are {', '.join(sorted(names))}"
            )
    copy = object.__new__(type(entity))
    copy.__dict__.update(entity.__dict__)
    copy.__dict__.update(changes)
    return copy
