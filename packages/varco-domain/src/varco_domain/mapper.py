"""Between an entity and a stored row; what every backend does alike."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from varco_domain._errors import ModelValueError, ValidationError
from varco_domain._fields import FieldKind, FieldMeta
from varco_domain._identity import check_distinct, children_first, no_more_keys, row_key
from varco_domain._json import codec_of
from varco_domain._storable import plain_decimal
from varco_domain._uuid7 import uuid7
from varco_domain.exception import FieldNotFound, RepositoryException
from varco_domain.meta import MetaReader, ParsedMeta, PKStrategy
from varco_domain.model import DomainModel

__all__ = (
    "AbstractMapper",
    "changed_values",
    "check_distinct",
    "children_first",
    "insert_values",
    "json_codec",
    "keep_values",
    "load_entity",
    "load_rows",
    "no_more_keys",
    "plain_decimal",
    "row_key",
    "update_values",
    "upsert_rows",
    "utc_now",
    "uuid7",
)

D = TypeVar("D", bound=DomainModel)
O = TypeVar("O")  # noqa: E741 - the specification's name

FIRST_VERSION = 1
_new: Callable[[type[Any]], Any] = object.__new__


def utc_now() -> datetime:
    """The time, aware and in UTC: the default clock of every backend."""
    return datetime.now(UTC)


class AbstractMapper(ABC, Generic[D, O]):  # noqa: UP046 - the specification's type variables
    """Translates between a model and a backend's own class."""

    def __init__(self, domain_cls: type[D], orm_cls: type[O]) -> None:
        self.domain_cls = domain_cls
        self.orm_cls = orm_cls
        self.meta: ParsedMeta = MetaReader.read(domain_cls)

    @abstractmethod
    def to_orm(self, domain: D) -> O:
        """A new backend object with the entity's values."""

    @abstractmethod
    def from_orm(self, orm_obj: O) -> D:
        """The entity that a backend object stores."""

    @abstractmethod
    def sync_to_orm(self, domain: D, orm_obj: O) -> O:
        """Write the entity's values into an existing backend object."""


def insert_values(meta: ParsedMeta, entity: DomainModel, now: datetime) -> dict[str, Any]:
    """The row of a new entity: key and version generated, audit times set, values checked.

    The values are as they will come back: moments in UTC, decimals with the digits of their scale.
    With `PKStrategy.INT_AUTO` and no key given, `pk` is None in it, and the store fills it in.

    Raises:
        ModelValueError: Values are missing, of another type, or cannot be stored by all engines.
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
    keep_values(meta, row)
    if meta.pk_strategy is PKStrategy.INT_AUTO and row[meta.pk_fields[0]] == 0:
        # MariaDB takes it for "count".
        raise ModelValueError(
            meta.entity_cls.__name__, meta.pk_fields[0], "counted keys begin with 1, got 0"
        )
    return row


def update_values(meta: ParsedMeta, entity: DomainModel, now: datetime) -> dict[str, Any]:
    """The row of a changed entity: version counted up, `updated_at` set, values checked.

    Its key is the one that was loaded. `created_at` is as in the entity; backends leave it, the
    key and the tenant out of their SET.

    Raises:
        ModelValueError: The key was changed; values are missing, of another type, or cannot be
            stored by all engines.
    """
    row_key(meta, entity)
    row = {name: getattr(entity, name) for name in meta.fields}
    if meta.updated_at_field is not None:
        row[meta.updated_at_field] = now
    if meta.version_field is not None:
        row[meta.version_field] += 1
    keep_values(meta, row)
    return row


def changed_values(meta: ParsedMeta, update: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The values that an update of many rows sets, `updated_at` included, checked.

    Raises:
        FieldNotFound: A name is no field, or one that such an update cannot set.
        ModelValueError: Values are missing, of another type, or cannot be stored by all engines.
    """
    fixed = {*meta.pk_fields, meta.tenant_field, meta.version_field, meta.created_at_field}
    for name in update:
        if name not in meta.fields or name in fixed:
            raise FieldNotFound(name, meta.table)
    values = dict(update)
    if meta.updated_at_field is not None:
        values[meta.updated_at_field] = now
    keep_values(meta, values, values)
    return values


def keep_values(
    meta: ParsedMeta, row: dict[str, Any], names: Collection[str] | None = None
) -> None:
    """Check the values of a row, and put in their place what will come back of them.

    Args:
        meta: The model's metadata.
        row: Values by field.
        names: The fields to look at; all if None.

    Raises:
        ModelValueError: Values are missing, of another type, or cannot be stored by all engines;
            it names all of them.
    """
    problems: list[ValidationError] = []
    checks = meta.storable
    if names is not None:
        checks = tuple(each for each in checks if each[0] in names)
    for name, required, keep in checks:
        value = row[name]
        if value is None:
            if required:
                problems.append(ValidationError("a value is required, got None", name))
            continue
        try:
            row[name] = keep(value)
        except ValueError as error:
            problems.append(ValidationError(str(error), name))
    if problems:
        first, *others = problems
        raise ModelValueError(meta.entity_cls.__name__, first.field or "", first.message, *others)


def upsert_rows(
    meta: ParsedMeta,
    entities: Iterable[DomainModel],
    by: Sequence[str],
    uniques: Iterable[tuple[str, ...]],
    now: datetime,
) -> list[dict[str, Any]]:
    """The rows of an upsert, those with a key of their own first.

    Args:
        meta: The model's metadata.
        entities: What is to be stored.
        by: The fields that say which row is meant.
        uniques: The groups of fields that the store holds unique together, the key included.
        now: The time.

    Raises:
        FieldNotFound: `by` names no field.
        RepositoryException: `by` is not unique.
        ModelValueError: A row is named twice; a key was changed; values cannot be stored.
    """
    for name in by:
        if name not in meta.fields:
            raise FieldNotFound(name, meta.table)
    groups = list(uniques)
    if not any(set(group) == set(by) for group in groups):
        listed = "; ".join(", ".join(group) for group in groups)
        raise RepositoryException(
            f"upsert by {', '.join(by) or 'nothing'}: {meta.entity_cls.__name__} is "
            f"unique by {listed}"
        )
    seen: set[tuple[Any, ...]] = set()
    rows: list[dict[str, Any]] = []
    for entity in entities:
        if type(entity) is not meta.entity_cls:
            raise RepositoryException(
                f"a {type(entity).__name__} among entities of {meta.entity_cls.__name__}"
            )
        row_key(meta, entity)
        row = insert_values(meta, entity, now)
        named = tuple(row[name] for name in by)
        if named in seen:
            raise ModelValueError(
                meta.entity_cls.__name__, by[0], f"{named!r} is named twice in one call"
            )
        if None not in named:
            seen.add(named)
        rows.append(row)
    return sorted(rows, key=lambda row: row[meta.pk_fields[0]] is None)


def load_entity(meta: ParsedMeta, row: dict[str, Any], raw: Any) -> Any:
    """An entity that owns `row` as its attributes; `__post_init__` does not run.

    Args:
        meta: The model's metadata.
        row: All fields by name; belongs to the entity afterwards.
        raw: What `entity.raw()` returns.
    """
    entity = _new(meta.entity_cls)
    row["_raw_orm"] = raw
    row["_stored_key"] = meta.pk_of(row)
    entity.__dict__ = row
    return entity


def load_rows(meta: ParsedMeta, rows: Iterable[Sequence[Any]]) -> list[Any]:
    """The entities of rows whose values are in the order of the fields; a row is its raw().

    Does what `load_entity` does, for many.
    """
    cls, names, pk_of = meta.entity_cls, tuple(meta.fields), meta.pk_of
    key = None if meta.is_composite_pk else meta.pk_fields[0]
    found: list[Any] = []
    for row in rows:
        entity = _new(cls)
        values = dict(zip(names, row, strict=False))
        values["_stored_key"] = values[key] if key is not None else pk_of(values)
        values["_raw_orm"] = row
        entity.__dict__ = values
        found.append(entity)
    return found


type JsonCodec = tuple[Callable[[Any], Any], Callable[[Any], Any]]


def json_codec(field: FieldMeta) -> JsonCodec:
    """The pair (dump, load) between a JSON field's values and JSON data; make it once per field.

    `dump` takes what `insert_values` and `update_values` give. Nested dataclasses and
    pydantic models come back as such; None stays None.

    Raises:
        ValueError: The field is not stored as JSON.
    """
    if field.kind is not FieldKind.JSON:
        raise ValueError(f"{field.name} is stored as {field.kind}, not as JSON")
    dump, load = codec_of(field.annotation)
    return (
        lambda value: None if value is None else dump(value),
        lambda data: None if data is None else load(data),
    )
