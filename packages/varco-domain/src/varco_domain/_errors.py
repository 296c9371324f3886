"""The root of this slice's errors and the error of a wrong declaration."""

from dataclasses import dataclass
from typing import Any, ClassVar


class DomainError(Exception):
    """Base of every error that varco-domain raises.

    `code` is a stable string for machines, `http_status` what a web layer answers with, and
    `safe_message` may be sent to the outside.
    """

    code: ClassVar[str] = "domain.error"
    http_status: ClassVar[int] = 500

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, dict(self.__dict__))

    @property
    def safe_message(self) -> str:
        """The message for the outside; the details of a server error stay inside."""
        return str(self) if self.http_status < 500 else "Internal error"  # noqa: PLR2004 - server errors


def _rebuild(cls: type[DomainError], args: tuple[Any, ...], state: dict[str, Any]) -> DomainError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    return error


class ModelDefinitionError(DomainError, TypeError):
    """A model class is declared wrongly; raised when the class is created.

    Attributes:
        model: Name of the class.
        field: Name of the field, or None when the class as a whole is wrong.
        reason: What is wrong and what would be right.
    """

    code = "domain.model_definition"

    def __init__(self, model: str, field: str | None, reason: str) -> None:
        where = model if field is None else f"{model}.{field}"
        super().__init__(f"{where}: {reason}")
        self.model = model
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ValidationError:
    """One broken rule.

    Attributes:
        message: What is wrong.
        field: The field it concerns, if one.
        index: The position of the entity in a bulk operation.
    """

    message: str
    field: str | None = None
    index: int | None = None

    def __str__(self) -> str:
        place = "" if self.index is None else f"[{self.index}] "
        return f"{place}{self.field}: {self.message}" if self.field else f"{place}{self.message}"


class ModelValueError(DomainError, ValueError):
    """Values cannot be stored in their fields (a naive datetime, null in a required field).

    Attributes:
        model: Name of the class.
        field: Name of the first field.
        reason: What is wrong with it and what would be right.
        errors: The same of all fields.
    """

    code = "domain.model_value"
    http_status = 422

    def __init__(self, model: str, field: str, reason: str, *others: ValidationError) -> None:
        self.errors: tuple[ValidationError, ...] = (ValidationError(reason, field), *others)
        super().__init__("; ".join(f"{model}.{each}" for each in self.errors))
        self.model = model
        self.field = field
        self.reason = reason
