"""Between DTOs and entities."""

from abc import ABC, abstractmethod
from types import get_original_bases
from typing import Any, ClassVar, Generic, cast

from typing_extensions import TypeVar

from varco_domain._errors import ModelDefinitionError
from varco_domain._generics import type_arguments
from varco_domain._hooks import default
from varco_domain.dto import CreateDTO, ReadDTO, UpdateDTO, UpdateOperation, generate_dtos
from varco_domain.dto._check import aliases, check_dtos, may_have
from varco_domain.dto._declared import OP, Part, fields_of
from varco_domain.exception import ServiceValidationError
from varco_domain.meta import MetaReader
from varco_domain.model import DomainModel, domain_replace

__all__ = ("AbstractDTOAssembler", "AutoAssembler")

D = TypeVar("D", bound=DomainModel, default=Any)
C = TypeVar("C", default=Any)
R = TypeVar("R", default=Any)
U = TypeVar("U", default=Any)


class AbstractDTOAssembler(ABC, Generic[D, C, R, U]):
    """Turns DTOs into entities and back. Safe to share: it keeps no state of a call."""

    @abstractmethod
    def to_domain(self, dto: C) -> D:
        """A new entity."""

    @abstractmethod
    def to_read_dto(self, entity: D) -> R:
        """What the caller gets to see."""

    @abstractmethod
    def apply_update(self, entity: D, dto: U) -> D:
        """The changed entity: a new one, or the same one changed in place."""


class AutoAssembler(AbstractDTOAssembler[D, C, R, U], Generic[D, C, R, U]):
    """Serves a model whose DTOs have the same field names: declared for it, or generated.

    Args:
        entity_cls: The model; may be left out in a subclass of `AutoAssembler[Post, C, R, U]`.
        read: The read class; by default the subclass's R, or the generated one.
        create: The create class, to be checked; by default the subclass's C.
        update: The update class, to be checked; by default the subclass's U.

    Raises:
        ModelDefinitionError: A DTO's field would be dropped, or one that is needed is not there.
    """

    __orig_bases__: ClassVar[tuple[Any, ...]]  # set by Python

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        arguments = type_arguments(cls, AutoAssembler)
        if arguments and not any(isinstance(argument, TypeVar) for argument in arguments):
            # Containers look for the interface among the bases as they are written.
            generic: Any = AbstractDTOAssembler
            cls.__orig_bases__ = (*get_original_bases(cls), generic[arguments])

    def __init__(
        self,
        entity_cls: type[D] | None = None,
        read: type[R] | None = None,
        *,
        create: type[C] | None = None,
        update: type[U] | None = None,
    ) -> None:
        arguments = type_arguments(type(self), AutoAssembler)
        model = arguments[0] if isinstance(arguments[0], type) else None
        cls = entity_cls or cast("type[D] | None", model)
        if cls is None:
            raise ModelDefinitionError(
                type(self).__name__,
                None,
                "which model? AutoAssembler(Post), or AutoAssembler[Post, ...]",
            )
        dtos = dtos_of(cls, (create or arguments[1], read or arguments[2], update or arguments[3]))
        chosen = dtos[1]
        meta = MetaReader.read(cls)
        writable = fields_of(Part.CREATE, meta)
        check_dtos(type(self), meta, writable, dtos)
        self.entity_cls = cls
        self.read_cls: type[R] = chosen
        self._validate: Any = chosen.__pydantic_validator__.validate_python
        self._aliases = aliases(cls, chosen)
        self._writable = tuple(writable)
        late = {f.name for f in MetaReader.domain_fields(cls) if not f.init}
        self._late = tuple(name for name in writable if name in late)
        self._changeable = frozenset(n for n, f in writable.items() if not f.primary_key)

    @default
    def to_domain(self, dto: C) -> D:
        """A new entity with the DTO's values."""
        given: dict[str, Any] = dto.__dict__
        values = {name: given[name] for name in self._writable if name in given}
        if not self._late:
            return self.entity_cls(**values)
        late = {name: values.pop(name) for name in self._late if name in values}
        return domain_replace(self.entity_cls(**values), **late)

    @default
    def to_read_dto(self, entity: D) -> R:
        """The read class's view of the entity."""
        source = _Aliased(entity, self._aliases) if self._aliases else entity
        read: R = self._validate(source, from_attributes=True)
        return read

    @default
    def apply_update(self, entity: D, dto: U) -> D:
        """A new entity with the fields that the DTO sets."""
        update: Any = dto
        names = self._changeable & update.model_fields_set
        changes = {name: getattr(update, name) for name in names}
        op = UpdateOperation.REPLACE
        if may_have(update.__class__, OP) or OP in update.__dict__:
            op = getattr(update, OP, op)
        if op is not UpdateOperation.REPLACE:
            for name, value in changes.items():
                changes[name] = _combine(op, name, getattr(entity, name), value)
        copy = object.__new__(self.entity_cls)
        copy.__dict__ = {**entity.__dict__, **changes}
        return copy


def dtos_of(model: type[DomainModel], written: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    """The (create, read, update) classes: the generated ones for those that are left open.

    A type variable, `Any` and the base of such classes leave it open.
    """
    left_open = tuple(
        isinstance(dto, TypeVar) or dto in {base, Any}
        for dto, base in zip(written, (CreateDTO, ReadDTO, UpdateDTO), strict=True)
    )
    if not any(left_open):
        return written
    generated = generate_dtos(model)
    create, read, update = (
        made if is_open else dto
        for dto, made, is_open in zip(written, generated, left_open, strict=True)
    )
    return create, read, update


class _Aliased:
    """An entity whose attributes have other names: pydantic looks for a field by its alias."""

    __slots__ = ("_aliases", "_entity")

    def __init__(self, entity: DomainModel, aliases: dict[str, str]) -> None:
        self._entity = entity
        self._aliases = aliases

    def __getattr__(self, name: str) -> Any:
        return getattr(self._entity, self._aliases.get(name, name))


def _combine(op: UpdateOperation, name: str, old: Any, new: Any) -> Any:
    if old.__class__ is list and new.__class__ is list:
        return _combine_lists(op, old, new)
    if old.__class__ is dict and new.__class__ is dict:
        return _combine_dicts(op, old, new)
    if op is UpdateOperation.REMOVE:
        raise ServiceValidationError(f"{name}: REMOVE works on lists and dicts", name)
    return new


def _combine_lists(op: UpdateOperation, old: list[Any], new: list[Any]) -> list[Any]:
    if op is UpdateOperation.EXTEND:
        return [*old, *new]
    if op is UpdateOperation.REMOVE:
        return [item for item in old if item not in new]
    return [*old, *(item for i, item in enumerate(new) if item not in old and item not in new[:i])]


def _combine_dicts(op: UpdateOperation, old: dict[Any, Any], new: dict[Any, Any]) -> dict[Any, Any]:
    if op is UpdateOperation.EXTEND:
        return {**old, **new}
    if op is UpdateOperation.REMOVE:
        return {key: value for key, value in old.items() if key not in new}
    merged = dict(old)
    # Nested dicts wait on a stack: their depth is the caller's to choose.
    stack = [(merged, new)]
    while stack:
        target, source = stack.pop()
        for key, value in source.items():
            if value.__class__ is dict and target.get(key).__class__ is dict:
                target[key] = dict(target[key])
                stack.append((target[key], value))
            else:
                target[key] = value
    return merged
