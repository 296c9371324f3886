"""Read one annotation: which kind of value a field holds, and what its metadata says."""

import dataclasses
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from typing import (
    Annotated,
    Any,
    Literal,
    TypeAliasType,
    Union,
    cast,
    get_args,
    get_origin,
    is_typeddict,
)
from uuid import UUID

from varco_domain._hints import FieldHint, FieldRole, ForeignKey, PrimaryKey
from varco_domain._limits import check_int, check_text


class FieldKind(StrEnum):
    """How a backend stores a field."""

    STR = "str"
    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    BYTES = "bytes"
    DECIMAL = "decimal"
    DATETIME = "datetime"
    DATE = "date"
    TIME = "time"
    TIMEDELTA = "timedelta"
    UUID = "uuid"
    ENUM = "enum"
    LITERAL = "literal"
    JSON = "json"


# bool before int and datetime before date: the first class that matches decides.
_SCALARS: tuple[tuple[type, FieldKind], ...] = (
    (bool, FieldKind.BOOL),
    (int, FieldKind.INT),
    (float, FieldKind.FLOAT),
    (str, FieldKind.STR),
    (bytes, FieldKind.BYTES),
    (Decimal, FieldKind.DECIMAL),
    (datetime, FieldKind.DATETIME),
    (date, FieldKind.DATE),
    (time, FieldKind.TIME),
    (timedelta, FieldKind.TIMEDELTA),
    (UUID, FieldKind.UUID),
)
_SCALAR_KINDS = dict(_SCALARS)
_JSON_ORIGINS = (list, dict, tuple, Sequence, Mapping)
_SUPPORTED = (
    "str, int, float, bool, bytes, Decimal, datetime, date, time, timedelta, UUID, Enum, Literal, "
    "list, dict, Any (JSON), a dataclass, a TypedDict or a pydantic model, each optional (| None)"
)


@dataclass(frozen=True, slots=True)
class FieldMeta:
    """Everything a backend and a DTO need to know about one field.

    Attributes:
        name: Attribute and column name.
        annotation: The declared type without `Annotated` and without `| None`.
        kind: How it is stored.
        python_type: The class of its values; for `Literal` the class of its choices.
        nullable: Whether None may be stored.
        hint: Storage details; never None.
        foreign_key: The reference, if it is one.
        role: What the library keeps in it, if anything.
        primary_key: Whether it is (part of) the key.
        choices: The values a `Literal` admits.
        extra: Other `Annotated` metadata, passed on to the DTOs.
        default: The default value, or `dataclasses.MISSING`.
        default_factory: The default's factory, or `dataclasses.MISSING`.
    """

    name: str
    annotation: Any
    kind: FieldKind
    python_type: type
    nullable: bool
    hint: FieldHint
    default: Any
    default_factory: Any
    foreign_key: ForeignKey | None = None
    role: FieldRole | None = None
    primary_key: bool = False
    choices: tuple[Any, ...] = ()
    extra: tuple[Any, ...] = ()

    @property
    def has_default(self) -> bool:
        """Whether the constructor may leave it out."""
        missing = dataclasses.MISSING
        return self.default is not missing or self.default_factory is not missing

    @property
    def is_mutable(self) -> bool:
        """Whether a stored value has to be copied to stay what it was."""
        return self.kind is FieldKind.JSON


class UnsupportedTypeError(TypeError):
    """Internal: the annotation is of no supported kind; becomes a ModelDefinitionError."""


def unwrap(annotation: Any) -> tuple[Any, bool, tuple[Any, ...]]:
    """Split an annotation into its bare type, whether it is optional, and its metadata."""
    metadata: list[Any] = []
    optional = False
    while True:
        if isinstance(annotation, TypeAliasType):
            annotation = annotation.__value__
            continue
        origin = get_origin(annotation)
        if isinstance(origin, TypeAliasType):
            annotation = origin.__value__[get_args(annotation)]
        elif origin is Annotated:
            annotation, *more = get_args(annotation)
            metadata.extend(more)
        elif origin in {Union, types.UnionType} and type(None) in get_args(annotation):
            rest = tuple(a for a in get_args(annotation) if a is not type(None))
            optional = True
            annotation = Union[rest]  # noqa: UP007 - built from values
        else:
            return annotation, optional, tuple(metadata)


def is_pydantic_model(candidate: Any) -> bool:
    """Tell a pydantic model without importing pydantic."""
    return isinstance(candidate, type) and hasattr(candidate, "__pydantic_core_schema__")


def kind_of(annotation: Any) -> tuple[FieldKind, type, tuple[Any, ...]]:
    """Classify a bare type as (kind, class of its values, choices)."""
    origin = get_origin(annotation)
    if origin is Literal:
        choices: tuple[Any, ...] = get_args(annotation)
        classes: set[type] = {type(c) for c in choices}
        if len(classes) != 1 or next(iter(classes)) not in {str, int, bool}:
            raise UnsupportedTypeError("a Literal's choices are all str, all int or all bool")
        _check_storable("a Literal's choices", choices)
        return FieldKind.LITERAL, next(iter(classes)), choices
    if annotation is Any:
        return FieldKind.JSON, object, ()
    if origin in {Union, types.UnionType}:
        return _union(annotation)
    cls: Any = origin or annotation
    if not isinstance(cls, type):
        raise UnsupportedTypeError(f"unsupported type {annotation!r}; supported are {_SUPPORTED}")
    kind = _SCALAR_KINDS.get(cls) if origin is None else None
    values = cast("type[Any]", cls)
    if issubclass(values, Enum):
        kind = FieldKind.ENUM
        members = [member.value for member in values.__members__.values()]
        what = f"the values of {values.__name__}"
        if {type(value) for value in members} not in ({str}, {int}):
            raise UnsupportedTypeError(f"{what} are to be all str or all int")
        _check_storable(what, members)
    elif cls in _JSON_ORIGINS or _is_structure(values):
        kind = FieldKind.JSON
    if kind is None:
        raise UnsupportedTypeError(_refusal(annotation, values))
    return kind, values, ()


def _check_storable(what: str, values: Sequence[Any]) -> None:
    try:
        for value in values:
            if isinstance(value, str):
                check_text(value)
            else:
                check_int(value)
    except ValueError as error:
        raise UnsupportedTypeError(f"{what}: {error}") from None


def _union(annotation: Any) -> tuple[FieldKind, type, tuple[Any, ...]]:
    for arg in get_args(annotation):
        if arg not in {str, int, float, bool} and kind_of(arg)[0] is not FieldKind.JSON:
            raise UnsupportedTypeError(f"a union is stored as JSON and {arg!r} is no JSON value")
    return FieldKind.JSON, object, ()


def _is_structure(cls: type) -> bool:
    return is_typeddict(cls) or dataclasses.is_dataclass(cls) or is_pydantic_model(cls)


def _refusal(annotation: Any, cls: type) -> str:
    for base, kind in _SCALARS:
        if issubclass(cls, base):
            return (
                f"{cls.__name__} is a subclass of {kind} and would come back as a plain {kind}; "
                f"declare it as {kind}"
            )
    return f"unsupported type {annotation!r}; supported are {_SUPPORTED}"


def describe_field(
    name: str, annotation: Any, declared: "dataclasses.Field[Any]"
) -> tuple[FieldMeta, PrimaryKey | None]:
    """Build the metadata of one dataclass field from its resolved annotation.

    Raises:
        UnsupportedTypeError: The type or its metadata cannot be stored; the text says why.
    """
    bare, optional, metadata = unwrap(annotation)
    kind, python_type, choices = kind_of(bare)
    hint, foreign_key, primary, role, extra = _split(metadata)
    if hint.nullable is not None and hint.nullable != optional:
        remedy = "| None" if hint.nullable else "no | None"
        raise UnsupportedTypeError(
            f"FieldHint(nullable={hint.nullable}) contradicts the type, which has to have {remedy}"
        )
    if (
        role is None
        and hint.max_length is not None
        and kind not in {FieldKind.STR, FieldKind.BYTES}
    ):
        raise UnsupportedTypeError(f"max_length limits str and bytes, not {kind.value}")
    if (hint.precision, hint.scale) != (None, None) and kind is not FieldKind.DECIMAL:
        raise UnsupportedTypeError(f"precision and scale belong to a Decimal, not {kind.value}")
    if foreign_key is not None and foreign_key.on_delete == "SET NULL" and not optional:
        raise UnsupportedTypeError("on_delete='SET NULL' needs an optional type (| None)")
    if primary is not None and optional:
        raise UnsupportedTypeError("a primary key is never null; drop the | None")
    if primary is not None and kind is FieldKind.JSON:
        raise UnsupportedTypeError("a primary key is a scalar, not JSON")
    meta = FieldMeta(
        name=name,
        annotation=bare,
        kind=kind,
        python_type=python_type,
        nullable=optional and primary is None,
        hint=hint,
        foreign_key=foreign_key,
        role=role,
        primary_key=primary is not None,
        choices=choices,
        extra=extra,
        default=declared.default,
        default_factory=declared.default_factory,
    )
    return meta, primary


def _split(
    metadata: tuple[Any, ...],
) -> tuple[FieldHint, ForeignKey | None, PrimaryKey | None, FieldRole | None, tuple[Any, ...]]:
    hint, foreign_key, primary, role = FieldHint(), None, None, None
    extra: list[Any] = []
    for item in metadata:
        match item:
            case FieldHint():
                hint = item
            case ForeignKey():
                foreign_key = _checked(item)
            case PrimaryKey():
                primary = item
            case FieldRole():
                role = item
            case type() if item in {FieldHint, ForeignKey, PrimaryKey}:
                raise UnsupportedTypeError(f"write {item.__name__}(...), not the class itself")
            case _:
                extra.append(item)
    return hint, foreign_key, primary, role, tuple(extra)


def _checked(key: ForeignKey) -> ForeignKey:
    allowed = {None, "CASCADE", "SET NULL", "RESTRICT"}
    for action in (key.on_delete, key.on_update):
        if action not in allowed:
            raise UnsupportedTypeError(
                f"foreign key action {action!r} is not one of 'CASCADE', 'SET NULL', 'RESTRICT'"
            )
    return key
