"""What can go wrong with the console.

ConsoleError
├── ConsoleConfigError     a console that cannot be made as it was asked for
├── AuditConflictError     somebody else has changed an entry of the audit meanwhile
└── RefusedError           a request that is answered with an error page
"""

from typing import ClassVar


class ConsoleError(Exception):
    """The base of every error of varco-console."""

    code: ClassVar[str] = "console.error"
    http_status: int = 500


class ConsoleConfigError(ConsoleError, ValueError):
    """A console that cannot be made as it was asked for."""

    code = "console.config"


class AuditConflictError(ConsoleError):
    """An entry of the audit is not what it was when the change began."""

    code = "console.audit_conflict"
    http_status = 409


class RefusedError(ConsoleError):
    """A request that is answered with an error page.

    Args:
        status: The status of the answer.
        title: What happened, in a few words.
        remedy: What to do about it.
    """

    code = "console.refused"

    def __init__(self, status: int, title: str, remedy: str) -> None:
        self.http_status = status
        self.title = title
        self.remedy = remedy
        super().__init__(f"{title}: {remedy}")
