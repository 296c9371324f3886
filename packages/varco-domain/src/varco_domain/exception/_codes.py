"""The stable codes."""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """A stable code, the HTTP status it goes with, and a message without any data in it."""

    code: str
    http_status: int
    default_message: str


class FastrestErrorCodes(Enum):
    """The codes of the service layer."""

    NOT_FOUND = ErrorCode("FASTREST_001", 404, "Not found")
    UNAUTHORIZED = ErrorCode("FASTREST_002", 403, "Not allowed")
    CONFLICT = ErrorCode("FASTREST_003", 409, "Conflict")
    VALIDATION_ERROR = ErrorCode("FASTREST_004", 422, "Validation failed")
    STALE = ErrorCode("FASTREST_005", 409, "Conflict")
    TENANT_REQUIRED = ErrorCode("FASTREST_006", 400, "Bad Request")
    INTERNAL_ERROR = ErrorCode("FASTREST_500", 500, "Internal error")

    @property
    def code(self) -> str:
        """The stable code."""
        return self.value.code

    @property
    def http_status(self) -> int:
        """The HTTP status."""
        return self.value.http_status

    @property
    def default_message(self) -> str:
        """The message without data."""
        return self.value.default_message
