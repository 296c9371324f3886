"""Business rules: all that are broken are reported, before anything is written."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Generic, Protocol, TypeVar

from varco_domain._errors import ValidationError
from varco_domain.exception import ServiceValidationError
from varco_domain.model import DomainModel

__all__ = (
    "VALID",
    "AsyncCompositeValidator",
    "AsyncDomainModelValidator",
    "AsyncValidator",
    "CompositeValidator",
    "DomainModelValidator",
    "ValidationError",
    "ValidationResult",
    "Validator",
)

T_contra = TypeVar("T_contra", contravariant=True)
D = TypeVar("D", bound=DomainModel)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """The broken rules of one value, or none; results add up with `+`."""

    errors: tuple[ValidationError, ...] = ()

    @property
    def is_valid(self) -> bool:
        """Whether no rule is broken."""
        return not self.errors

    def __add__(self, other: "ValidationResult") -> "ValidationResult":
        if not other.errors:
            return self
        return ValidationResult(self.errors + other.errors) if self.errors else other

    def at(self, index: int) -> "ValidationResult":
        """The same errors, at a position of a bulk operation."""
        return ValidationResult(tuple(replace(e, index=index) for e in self.errors))

    def raise_if_invalid(self) -> None:
        """Raise one ServiceValidationError with all errors, if there are any."""
        if self.errors:
            detail = "; ".join(str(error) for error in self.errors)
            field = next((e.field for e in self.errors if e.field), None)
            raise ServiceValidationError(detail, field, errors=self.errors)

    @staticmethod
    def ok() -> "ValidationResult":
        """The result without errors."""
        return VALID

    @staticmethod
    def error(message: str, *, field: str | None = None) -> "ValidationResult":
        """A result with one error."""
        return ValidationResult((ValidationError(message, field),))


VALID: Final = ValidationResult()
"""The result of a value that breaks no rule."""


class Validator(Protocol[T_contra]):
    """Checks a value without waiting for anything."""

    def validate(self, value: T_contra) -> ValidationResult:
        """All broken rules."""
        ...


class AsyncValidator(Protocol[T_contra]):
    """Checks a value and may ask elsewhere."""

    async def validate(self, value: T_contra) -> ValidationResult:
        """All broken rules."""
        ...


class _Rules:
    @staticmethod
    def _rule(
        broken: bool, message: str | Callable[[], str], *, field: str | None = None
    ) -> ValidationResult:
        """An error when the rule is broken, and no error otherwise."""
        if not broken:
            return VALID
        return ValidationResult.error(
            message if isinstance(message, str) else message(), field=field
        )


class DomainModelValidator(_Rules, ABC, Generic[D]):  # noqa: UP046 - the specification's type variables
    """Base of validators of entities; add up `self._rule(broken, message, field=...)`."""

    @abstractmethod
    def validate(self, value: D) -> ValidationResult:
        """All broken rules."""


class AsyncDomainModelValidator(_Rules, ABC, Generic[D]):  # noqa: UP046 - as above
    """Base of validators of entities that ask elsewhere."""

    @abstractmethod
    async def validate(self, value: D) -> ValidationResult:
        """All broken rules."""


class CompositeValidator(Generic[T]):  # noqa: UP046 - as above
    """Runs several validators and reports what all of them found."""

    def __init__(self, *validators: Validator[T]) -> None:
        self.validators = validators

    def validate(self, value: T) -> ValidationResult:
        """The broken rules of all validators."""
        return sum((v.validate(value) for v in self.validators), VALID)


class AsyncCompositeValidator(Generic[T]):  # noqa: UP046 - as above
    """Runs several async validators, one after the other, and reports what all of them found."""

    def __init__(self, *validators: AsyncValidator[T]) -> None:
        self.validators = validators

    async def validate(self, value: T) -> ValidationResult:
        """The broken rules of all validators."""
        result: ValidationResult = VALID
        for validator in self.validators:
            result += await validator.validate(value)
        return result
