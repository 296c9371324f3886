"""Validators as part of a service."""

from typing import Annotated, Any, ClassVar, Generic

from providify import InjectMeta

from varco_domain.auth import AuthContext
from varco_domain.service._types import PK, C, D, R, U
from varco_domain.service.mixin import ServiceMixin
from varco_domain.validation import (
    AsyncDomainModelValidator,
    AsyncValidator,
    DomainModelValidator,
    ValidationResult,
    Validator,
)

__all__ = ("ValidatorServiceMixin",)


class ValidatorServiceMixin(ServiceMixin[D, PK, C, R, U], Generic[D, PK, C, R, U]):  # noqa: UP046 - the specification's type variables
    """Runs validators on every entity before it is written, and reports all broken rules at once.

    A `DomainModelValidator[D]` and an `AsyncDomainModelValidator[D]` that the container knows
    are injected; without one, set `_validator` and `_async_validator` on the class or instance.
    """

    _validator: Validator[D] | None = None
    _async_validator: AsyncValidator[D] | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.types is None:
            return
        # The container injects class variables by their annotations, which have to be closed types.
        model: Any = cls.types.entity_cls
        optional = InjectMeta(optional=True)
        kinds: dict[str, Any] = {
            "_validator": DomainModelValidator,
            "_async_validator": AsyncDomainModelValidator,
        }
        for name, kind in kinds.items():
            # One that is set on a class is not looked for.
            wanted = Annotated[kind[model], optional] if getattr(cls, name) is None else Any
            cls.__annotations__[name] = ClassVar[wanted]

    async def _validate(self, entity: D, ctx: AuthContext) -> ValidationResult:
        """What the validators find."""
        result = await super()._validate(entity, ctx)
        if self._validator is not None:
            result += self._validator.validate(entity)
        if self._async_validator is not None:
            result += await self._async_validator.validate(entity)
        return result
