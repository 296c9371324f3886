"""DTO classes that are declared for a model: whether they fit it, and what they take from it."""

from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import MISSING, dataclass
from difflib import get_close_matches
from enum import Enum
from typing import Any, NamedTuple

from pydantic import Field
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from varco_domain._errors import ModelDefinitionError
from varco_domain._fields import FieldMeta, unwrap
from varco_domain.dto._limits import limited
from varco_domain.dto._operation import UpdateOperation
from varco_domain.dto._types import bare, fits, shown
from varco_domain.meta import MetaReader, ParsedMeta

OP = "op"
EXPECTED_VERSION = "expected_version"
ASKED_FOR = (OP, EXPECTED_VERSION)
"""What an update class may have beside the fields of its model."""


_unchecked: ContextVar[bool] = ContextVar("varco_unchecked_dtos", default=False)


@contextmanager
def unchecked() -> Generator[None]:
    """Leave classes that are declared inside the block as they are."""
    token = _unchecked.set(True)
    try:
        yield
    finally:
        _unchecked.reset(token)


class Part(Enum):
    """What a DTO is for."""

    CREATE = "create"
    READ = "read"
    UPDATE = "update"


class Declaration(NamedTuple):
    """What a DTO class says of itself: `class PostRead(ReadDTO, model=Post, exclude=…)`."""

    model: type
    exclude: frozenset[str]
    adds: frozenset[str]

    @classmethod
    def of(
        cls,
        dto: type,
        inherited: "Declaration | None",
        model: type | None,
        exclude: Collection[str],
        adds: Collection[str],
    ) -> "Declaration":
        """Join what a class says with what its base said.

        Raises:
            ModelDefinitionError: It names no model, or another than its base does.
        """
        for keyword, names in (("exclude", exclude), ("adds", adds)):
            if isinstance(names, str):
                reason = f"{keyword} holds names; write {keyword}=({names!r},)"
                raise ModelDefinitionError(dto.__name__, None, reason)
        if inherited is None:
            if model is None:
                reason = "of which model? Write model=Post beside its bases"
                raise ModelDefinitionError(dto.__name__, None, reason)
            return cls(model, frozenset(exclude), frozenset(adds))
        if model is not None and not issubclass(model, inherited.model):
            reason = f"its base is one of {inherited.model.__name__}, not of {model.__name__}"
            raise ModelDefinitionError(dto.__name__, None, reason)
        return cls(
            model or inherited.model, inherited.exclude.union(exclude), inherited.adds.union(adds)
        )


def unset() -> Any:
    """The default of a field that a caller may leave out.

    In a create class the model's default takes its place. In an update class the entity keeps its
    value; to Python the attribute is None then, and `model_fields_set` tells whether it was set.
    Null is no value of such a field, unless its type says so.
    """
    return Field(default=None, json_schema_extra=_drop_default)


def _drop_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


def fields_of(part: Part, meta: ParsedMeta) -> dict[str, FieldMeta]:
    """The fields of a model that a DTO can have."""
    if part is Part.READ:
        return dict(meta.fields)
    system = meta.system_fields
    return {
        name: field
        for name, field in meta.fields.items()
        if name not in system and not (part is Part.UPDATE and field.primary_key)
    }


@dataclass(frozen=True, slots=True)
class _Check:
    part: Part
    declaration: Declaration
    name: str
    meta: ParsedMeta
    fields: Mapping[str, FieldMeta]

    @property
    def model(self) -> str:
        return self.declaration.model.__name__

    def refuse(self, field: str, reason: str) -> ModelDefinitionError:
        return ModelDefinitionError(self.name, field, reason)


def apply(part: Part, declaration: Declaration, name: str, infos: Mapping[str, FieldInfo]) -> None:
    """Check the fields of a declared class, and give them the limits and defaults of the model's.

    What was done already is done again to the same effect.

    Raises:
        ModelDefinitionError: They do not fit the model.
    """
    if _unchecked.get():
        return
    meta = MetaReader.read(declaration.model)
    check = _Check(part, declaration, name, meta, fields_of(part, meta))
    _check_exclude(check, infos)
    covered: set[str] = set()
    for field_name, info in infos.items():
        source = _source(check, field_name, info)
        if source is None:
            continue
        covered.add(source.name)
        _check_type(check, field_name, source, info)
        if part is not Part.READ:
            _take_over(check, field_name, source, info)
    _check_missing(check, covered)


def _check_exclude(check: _Check, infos: Mapping[str, FieldInfo]) -> None:
    for name in sorted(check.declaration.exclude):
        if name not in check.meta.fields:
            raise check.refuse(
                name,
                f"{check.model} has no such field to leave out{meant(name, check.meta.fields)}",
            )
        if name in infos and name in check.fields:
            raise check.refuse(name, "it is here and in exclude=; drop one of the two")


def _source(check: _Check, name: str, info: FieldInfo) -> FieldMeta | None:
    """The field of the model behind a field; None if it may be here without one."""
    if name in check.declaration.adds:
        if name in check.meta.fields:
            raise check.refuse(name, f"{check.model} has this field; take it out of adds=")
        return None
    field = check.fields.get(name)
    if field is not None:
        return field
    if check.part is Part.READ:
        return _read_source(check, name, info)
    if check.part is Part.UPDATE and name in ASKED_FOR:
        _check_asked_for(check, name, info)
        return None
    if name in check.meta.fields:
        verb = "set" if check.part is Part.CREATE else "changed"
        raise check.refuse(name, f"{check.model}.{name} is not a caller's to be {verb}; drop it")
    raise check.refuse(name, _unknown(check, name))


def _read_source(check: _Check, name: str, info: FieldInfo) -> FieldMeta | None:
    alias = info.validation_alias
    if isinstance(alias, str) and alias in check.fields:
        return check.fields[alias]
    # The key under its common name, a property, a value that is worked out.
    if hasattr(check.declaration.model, name) or name == "pk":
        return None
    raise check.refuse(name, _unknown(check, name))


def _unknown(check: _Check, name: str) -> str:
    return (
        f"{check.model} has no such field{meant(name, check.fields)}; "
        f"a field that is none of the model's is declared: adds=({name!r},)"
    )


def meant(name: str, known: Iterable[str]) -> str:
    """A question for the name that was perhaps meant, to end a sentence with."""
    close = get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _check_asked_for(check: _Check, name: str, info: FieldInfo) -> None:
    wanted = UpdateOperation if name == OP else int
    if unwrap(info.annotation)[0] is not wanted:
        default = "UpdateOperation = UpdateOperation.REPLACE" if name == OP else "int | None = None"
        raise check.refuse(name, f"it has a meaning of its own; write '{name}: {default}'")
    if name == EXPECTED_VERSION and check.meta.version_field is None:
        reason = f"{check.model} has no version; derive it from VersionedDomainModel, or drop it"
        raise check.refuse(name, reason)


def _check_type(check: _Check, name: str, source: FieldMeta, info: FieldInfo) -> None:
    own, nullable, _ = unwrap(info.annotation)
    wanted = f"{shown(source.annotation)}{' | None' if source.nullable else ''}"
    field = f"{check.model}.{source.name}"
    if check.part is Part.READ:
        if source.nullable and not nullable and own is not Any and info.is_required():
            raise check.refuse(name, f"{field} may be None; write '{name}: {wanted}'")
        right = fits(source.annotation, own)
    else:
        if nullable and not source.nullable:
            default = "" if info.is_required() else " = unset()"
            raise check.refuse(name, f"{field} is never None; write '{name}: {wanted}{default}'")
        right = fits(own, source.annotation)
    if not right:
        reason = f"{shown(own)} is no type for {field}; write '{name}: {wanted}'"
        raise check.refuse(name, reason)


def _take_over(check: _Check, name: str, source: FieldMeta, info: FieldInfo) -> None:
    own, nullable, _ = unwrap(info.annotation)
    if bare(own) == bare(source.annotation):
        info.annotation = limited(source) | None if nullable else limited(source)
    if check.part is Part.CREATE and info.json_schema_extra is _drop_default:
        if not is_optional(source):
            raise check.refuse(
                name, f"{check.model}.{source.name} has no default; drop '= unset()'"
            )
        info.json_schema_extra = None
        if source.default_factory is MISSING:
            info.default = source.default
        else:
            info.default, info.default_factory = PydanticUndefined, source.default_factory


def is_optional(field: FieldMeta) -> bool:
    """Tell whether who creates an entity may leave a field out."""
    # A key's None stands for "not saved yet": who assigns keys has to give one.
    return field.has_default and not (field.primary_key and field.default is None)


def _check_missing(check: _Check, covered: set[str]) -> None:
    for name in _left_out(check, covered):
        field = check.fields[name]
        of = f"{shown(field.annotation)}{' | None' if field.nullable else ''}"
        default = ""
        if check.part is Part.UPDATE or (check.part is Part.CREATE and is_optional(field)):
            default = " = unset()"
        reason = (
            f"{check.model} has it; write '{name}: {of}{default}', "
            f"or leave it out with exclude=({name!r},)"
        )
        raise check.refuse(name, reason)


def _left_out(check: _Check, covered: set[str]) -> Iterator[str]:
    silent = {check.meta.tenant_field} if check.part is Part.READ else set[str | None]()
    if check.part is Part.READ and not check.meta.is_composite_pk:
        silent.update(check.meta.pk_fields)  # its base has the key
    for name in check.fields:
        if name not in covered | check.declaration.exclude | silent:
            yield name
