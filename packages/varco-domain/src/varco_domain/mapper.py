"""Between an entity and a stored row; what every backend does alike."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar, cast

from varco_domain._errors import ModelValueError
from varco_domain._fields import FieldKind, FieldMeta
from varco_domain._uuid7 import uuid7
from varco_domain.meta import MetaReader, ParsedMeta, PKStrategy
from varco_domain.model import DomainModel

__all__ = (
    "AbstractMapper",
    "insert_values",
    "json_codec",
    "load_entity",
    "update_values",
    "utc_now",
    "uuid7",
)

D = TypeVar("D", bound=DomainModel)
O = TypeVar("O")  # noqa: E741 - the specification's name

FIRST_VERSION = 1


def utc_now() -> datetime:
    """Return the time, aware and in UTC: the default clock of every backend."""
    return datetime.now(UTC)


class AbstractMapper(ABC, Generic[D, O]):  # noqa: UP046 - the specification's type variables
    """Translates between a model and a backend's own class."""

    def __init__(self, domain_cls: type[D], orm_cls: type[O]) -> None:
        self.domain_cls = domain_cls
        self.orm_cls = orm_cls
        self.meta: ParsedMeta = MetaReader.read(domain_cls)

    @abstractmethod
    def to_orm(self, domain: D) -> O:
        """Return a new backend object with the entity's values."""

    @abstractmethod
    def from_orm(self, orm_obj: O) -> D:
        """Return the entity that a backend object stores."""

    @abstractmethod
    def sync_to_orm(self, domain: D, orm_obj: O) -> O:
        """Write the entity's values into an existing backend object."""


def insert_values(meta: ParsedMeta, entity: DomainModel, now: datetime) -> dict[str, Any]:
    """Return the row of a new entity: key and version generated, audit times set, values checked.

    With ``PKStrategy.INT_AUTO`` and no key given, ``pk`` is None in it, and the store fills it in.

    Raises:
        ModelValueError: A required value is missing, or a datetime has no timezone.
    """
    row = {name: getattr(entity, name) for name in meta.fields}
    if meta.pk_strategy is PKStrategy.UUID_AUTO and row[meta.pk_fields[0]] is None:
        row[meta.pk_fields[0]] = uuid7()
    if meta.created_at_field is not None:
        row[meta.created_at_field] = now
    if meta.updated_at_field is not None:
        row[meta.updated_at_field] = now
    if meta.version_field is not None:
        row[meta.version_field] = FIRST_VERSION
    _check(meta, row)
    return row


def update_values(meta: ParsedMeta, entity: DomainModel, now: datetime) -> dict[str, Any]:
    """Return the row of a changed entity: version counted up, ``updated_at`` set, values checked.

    ``created_at`` is as loaded; backends leave it, the key and the tenant out of their SET.

    Raises:
        ModelValueError: A required value is missing, or a datetime has no timezone.
    """
    row = {name: getattr(entity, name) for name in meta.fields}
    if meta.updated_at_field is not None:
        row[meta.updated_at_field] = now
    if meta.version_field is not None:
        row[meta.version_field] += 1
    _check(meta, row)
    return row


def load_entity(meta: ParsedMeta, row: dict[str, Any], raw: Any) -> Any:
    """Return an entity that owns ``row`` as its attributes; ``__post_init__`` does not run.

    Args:
        meta: The model's metadata.
        row: All fields by name; belongs to the entity afterwards.
        raw: What ``entity.raw()`` returns.
    """
    entity = cast("Any", object.__new__(meta.entity_cls))
    row["_raw_orm"] = raw
    entity.__dict__ = row
    return entity


def _check(meta: ParsedMeta, row: Mapping[str, Any]) -> None:
    for name in meta.required_fields:
        if row[name] is None:
            raise ModelValueError(meta.entity_cls.__name__, name, "a value is required, got None")
    for name, limit in meta.limited_fields:
        if row[name] is not None and len(row[name]) > limit:
            raise ModelValueError(
                meta.entity_cls.__name__, name, f"at most {limit} long, got {len(row[name])}"
            )
    for name in meta.aware_fields:
        value = row[name]
        if value is not None and value.tzinfo is None:
            raise ModelValueError(
                meta.entity_cls.__name__,
                name,
                "a datetime needs a timezone: datetime.now(UTC)",
            )


type JsonCodec = tuple[Callable[[Any], Any], Callable[[Any], Any]]


def json_codec(field: FieldMeta) -> JsonCodec:
    """Return (dump, load) between a JSON field's values and JSON data; make it once per field.

    Nested dataclasses and pydantic models come back as such; None stays None.

    Raises:
        ValueError: The field is not stored as JSON.
    """
    if field.kind is not FieldKind.JSON:
        raise ValueError(f"{field.name} is stored as {field.kind}, not as JSON")
    from pydantic import TypeAdapter  # noqa: PLC0415 - models alone load no pydantic

    adapter: TypeAdapter[Any] = TypeAdapter(field.annotation)

    def dump(value: Any) -> Any:
        return None if value is None else adapter.dump_python(value, mode="json")

    def load(data: Any) -> Any:
        return None if data is None else adapter.validate_python(data)

    return dump, load
