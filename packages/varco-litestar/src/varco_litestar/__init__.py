"""Services of varco-domain as Litestar routers."""

from varco_litestar._callers import RequireCaller, current_caller, service_of
from varco_litestar._plugin import VarcoPlugin
from varco_litestar._resource import resource

__all__: tuple[str, ...] = (
    "RequireCaller",
    "VarcoPlugin",
    "current_caller",
    "resource",
    "service_of",
)
