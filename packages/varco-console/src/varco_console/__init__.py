"""What an operator sees and does: failures, grouped and retried; what flows; who did what."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from varco_console._access import (
        FULL_ACCESS,
        READ_ONLY,
        AccessOf,
        Identify,
        Operator,
        OperatorWithRoles,
        Permission,
        access_by_role,
    )
    from varco_console._audit import AuditEntry, AuditLog, AuditState, MemoryAudit
    from varco_console._audit_repository import AuditRecord, RepositoryAudit
    from varco_console._console import Console
    from varco_console._errors import (
        AuditConflictError,
        ConsoleConfigError,
        ConsoleError,
        RefusedError,
    )
    from varco_console._redaction import Hides, Path, hidden_by_hints
    from varco_console._setup import Authority, Breaker, Cache, HealthCheck, Issuers, Relay
    from varco_console._sign_in import TokenSignIn, TokenVerifier
else:
    _MODULES = {
        "_access": (
            "AccessOf FULL_ACCESS Identify Operator OperatorWithRoles Permission READ_ONLY "
            "access_by_role"
        ),
        "_audit": "AuditEntry AuditLog AuditState MemoryAudit",
        "_audit_repository": "AuditRecord RepositoryAudit",
        "_console": "Console",
        "_errors": "AuditConflictError ConsoleConfigError ConsoleError RefusedError",
        "_redaction": "Hides Path hidden_by_hints",
        "_setup": "Authority Breaker Cache HealthCheck Issuers Relay",
        "_sign_in": "TokenSignIn TokenVerifier",
    }
    _HOME = {name: module for module, names in _MODULES.items() for name in names.split()}

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415  # only when a name is touched

        try:
            value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] not in {"varco_domain", "varco_query"}:
                raise
            raise ImportError(
                f"{name} needs varco-domain: pip install 'varco-console[domain]'", name=error.name
            ) from error
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOME})


__all__: tuple[str, ...] = (
    "FULL_ACCESS",
    "READ_ONLY",
    "AccessOf",
    "AuditConflictError",
    "AuditEntry",
    "AuditLog",
    "AuditRecord",
    "AuditState",
    "Authority",
    "Breaker",
    "Cache",
    "Console",
    "ConsoleConfigError",
    "ConsoleError",
    "HealthCheck",
    "Hides",
    "Identify",
    "Issuers",
    "MemoryAudit",
    "Operator",
    "OperatorWithRoles",
    "Path",
    "Permission",
    "RefusedError",
    "Relay",
    "RepositoryAudit",
    "TokenSignIn",
    "TokenVerifier",
    "access_by_role",
    "hidden_by_hints",
)
