"""Services of varco-domain as FastAPI routes."""

from varco_fastapi._callers import CallerOf, current_caller, service_of
from varco_fastapi._install import install, lifespan, make_app
from varco_fastapi._resource import resource

__all__: tuple[str, ...] = (
    "CallerOf",
    "current_caller",
    "install",
    "lifespan",
    "make_app",
    "resource",
    "service_of",
)
