"""Domain models, repositories, services, authorization, tenancy, DTOs and validation."""

__all__: tuple[str, ...] = ()
