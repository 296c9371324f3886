"""SQLAlchemy backend of varco: tables, repositories, unit of work and outbox."""

__all__: tuple[str, ...] = ()
