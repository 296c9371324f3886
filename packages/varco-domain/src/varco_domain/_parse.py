"""Turn a model class into its ParsedMeta."""

import dataclasses
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, TypeVar, get_type_hints

from varco_domain._annotations import annotations_of
from varco_domain._errors import ModelDefinitionError
from varco_domain._fields import FieldKind, FieldMeta, UnsupportedTypeError, describe_field, unwrap
from varco_domain._generics import type_arguments
from varco_domain._hints import (
    CheckConstraint,
    FieldHint,
    FieldRole,
    ManyToMany,
    PKStrategy,
    PrimaryKey,
    Relationship,
    UniqueConstraint,
    table_name,
)
from varco_domain._keepable import check_names, check_reference
from varco_domain._parsed import ParsedMeta
from varco_domain._storable import keyed_fields, storable

_DEFAULT_STRATEGY = {
    FieldKind.INT: PKStrategy.INT_AUTO,
    FieldKind.UUID: PKStrategy.UUID_AUTO,
    FieldKind.STR: PKStrategy.STR_ASSIGNED,
}
_STRATEGY_KIND = {
    PKStrategy.INT_AUTO: FieldKind.INT,
    PKStrategy.UUID_AUTO: FieldKind.UUID,
    PKStrategy.STR_ASSIGNED: FieldKind.STR,
}
_ROLE_KIND = {
    FieldRole.CREATED_AT: FieldKind.DATETIME,
    FieldRole.UPDATED_AT: FieldKind.DATETIME,
    FieldRole.DELETED_AT: FieldKind.DATETIME,
    FieldRole.VERSION: FieldKind.INT,
    FieldRole.TENANT: FieldKind.STR,
}


_META_NAMES = ("table", "resource", "constraints", "relationships", "many_to_many")
_META_REMEDIES = {
    "customize": "store the model in a class of your own: provider.map(model, orm_cls)",
    "migrator": "write a migration: migration_source of varco-sa",
}


def parse(cls: type, local_names: Mapping[str, Any] | None) -> ParsedMeta:
    """Read a class; `local_names` are those of the place where it was declared.

    Raises:
        ModelDefinitionError: Something is declared wrongly, or a type's name is unknown.
    """
    fields, markers = _fields_of(cls, local_names)
    abstract = is_abstract(cls)
    pk_fields = _primary_key(cls, fields, markers, abstract=abstract)
    strategy, pk_type = _strategy(cls, fields, markers, pk_fields)
    for name in pk_fields:
        fields[name] = dataclasses.replace(fields[name], primary_key=True, nullable=False)
    roles = _roles(cls, fields)
    ordered = _ordered(fields, pk_fields)
    foreign = {n: f.foreign_key for n, f in ordered.items() if f.foreign_key is not None}
    _check_meta(cls)
    check_names(cls, ordered)
    generated = set(pk_fields) if strategy is PKStrategy.INT_AUTO else set[str]()
    constraints = _constraints(cls, ordered)
    groups = [c.fields for c in constraints if isinstance(c, UniqueConstraint)]
    keyed = keyed_fields(ordered, pk_fields, groups)
    version, tenant = roles.get(FieldRole.VERSION), roles.get(FieldRole.TENANT)
    return ParsedMeta(
        entity_cls=cls,
        table=table_name(cls),
        fields=MappingProxyType(ordered),
        pk_fields=pk_fields,
        pk_strategy=strategy,
        pk_type=pk_type,
        foreign_keys=MappingProxyType(foreign),
        constraints=constraints,
        relationships=tuple(_declared(cls, "relationships", Relationship)),
        many_to_many=tuple(_declared(cls, "many_to_many", ManyToMany)),
        version_field=version,
        created_at_field=roles.get(FieldRole.CREATED_AT),
        updated_at_field=roles.get(FieldRole.UPDATED_AT),
        tenant_field=tenant,
        deleted_at_field=roles.get(FieldRole.DELETED_AT),
        abstract=abstract,
        resource=getattr(cls.__dict__.get("Meta"), "resource", None) or table_name(cls),
        mutable_fields=tuple(n for n, f in ordered.items() if f.is_mutable),
        match_fields=tuple(n for n in (version, tenant) if n is not None),
        keyed_fields=keyed,
        storable=tuple(
            (n, not f.nullable and n not in generated, storable(f, keyed=n in keyed))
            for n, f in ordered.items()
        ),
    )


def is_abstract(cls: type) -> bool:
    """Whether the class only serves as a base (declared with `abstract=True`)."""
    return bool(cls.__dict__.get("__varco_abstract__", False))


def _fields_of(
    cls: type, local_names: Mapping[str, Any] | None
) -> tuple[dict[str, FieldMeta], dict[str, PrimaryKey]]:
    hints = resolve_hints(cls, local_names)
    for name, hint in hints.items():
        _check_closed(cls, name, hint)
    fields: dict[str, FieldMeta] = {}
    markers: dict[str, PrimaryKey] = {}
    for declared in dataclasses.fields(cls):
        try:
            meta, marker = describe_field(declared.name, hints[declared.name], declared)
        except UnsupportedTypeError as error:
            raise ModelDefinitionError(cls.__name__, declared.name, str(error)) from None
        _check_hint(cls, declared.name, meta.hint)
        _check_soft_delete(cls, meta)
        check_reference(cls, meta)
        fields[declared.name] = meta
        if marker is not None:
            markers[declared.name] = marker
    return fields, markers


def resolve_hints(cls: type, local_names: Mapping[str, Any] | None) -> dict[str, Any]:
    """Resolve the annotations of all fields, each in the names of the class that declares it.

    A field that is declared again keeps its role: without it, a tenant's rows would be everybody's.
    """
    wanted = {f.name for f in dataclasses.fields(cls)}
    hints: dict[str, Any] = {}
    roles: dict[str, FieldRole] = {}
    for base in reversed(cls.__mro__):
        own = {n: a for n, a in annotations_of(base).items() if n in wanted}
        if not own:
            continue
        known = _type_arguments(cls, base)
        resolved: dict[str, Any] | None = base.__dict__.get("__varco_hints__")
        if resolved is None:
            resolved = _resolve(cls, base, own, local_names if base is cls else None)
            if base is cls:
                type.__setattr__(base, "__varco_hints__", resolved)
        for name, open_hint in resolved.items():
            hint = _substituted(open_hint, known)
            role = _role_of(hint)
            if role is None and name in roles:
                hints[name] = Annotated[hint, roles[name]]
                continue
            if role is not None and roles.setdefault(name, role) is not role:
                raise ModelDefinitionError(
                    cls.__name__, name, f"it has the role {roles[name]} from a base, not {role}"
                )
            hints[name] = hint
    return hints


def _type_arguments(cls: type, base: type) -> dict[Any, Any]:
    """What stands for the type variables of a base, those left open included."""
    names: tuple[Any, ...] = getattr(base, "__parameters__", ())
    return dict(zip(names, type_arguments(cls, base), strict=False)) if names else {}


def _substituted(hint: Any, known: Mapping[Any, Any]) -> Any:
    if isinstance(hint, TypeVar):
        return known.get(hint, hint)
    names: tuple[Any, ...] = getattr(hint, "__parameters__", ())
    return hint[tuple(known.get(name, name) for name in names)] if names and known else hint


def _check_closed(cls: type, name: str, hint: Any) -> None:
    if not isinstance(hint, TypeVar) and not getattr(hint, "__parameters__", ()):
        return
    error = UnresolvedNameError if is_abstract(cls) else ModelDefinitionError
    raise error(
        cls.__name__,
        name,
        f"its type {hint} is open; give the base its type, or declare the class abstract=True",
    )


def _role_of(hint: Any) -> FieldRole | None:
    return next((i for i in unwrap(hint)[2] if isinstance(i, FieldRole)), None)


def _resolve(
    cls: type, base: type, own: dict[str, Any], local_names: Mapping[str, Any] | None
) -> dict[str, Any]:
    module = sys.modules.get(base.__module__)
    variables = {each.__name__: each for each in getattr(base, "__type_params__", ())}
    names = {**(local_names or {}), **variables, base.__name__: base}
    holder = type(base.__name__, (), {"__annotations__": own})
    try:
        return get_type_hints(holder, vars(module) if module else {}, names, include_extras=True)
    except NameError as error:
        guilty = next(
            (n for n, a in own.items() if isinstance(a, str) and str(error.name) in a), None
        )
        raise UnresolvedNameError(
            cls.__name__,
            guilty,
            f"the type names {error.name!r}, which is not defined in {base.__module__}",
        ) from None
    except (TypeError, SyntaxError, AttributeError) as error:
        raise ModelDefinitionError(
            cls.__name__, None, f"an annotation is wrong: {error}"
        ) from error


def hint_of(base: type, name: str, local_names: Mapping[str, Any] | None) -> Any:
    """The type of one annotation of a class, or its text where it cannot be read yet."""
    annotation = annotations_of(base)[name]
    if not isinstance(annotation, str):
        return annotation
    try:
        return _resolve(base, base, {name: annotation}, local_names)[name]
    except ModelDefinitionError:
        return annotation


class UnresolvedNameError(ModelDefinitionError):
    """A type is not defined yet; at class creation that is no error, at first use it is."""


def _primary_key(
    cls: type, fields: dict[str, FieldMeta], markers: dict[str, PrimaryKey], *, abstract: bool
) -> tuple[str, ...]:
    marked = tuple(markers)
    if "pk" in fields:
        others = [name for name in marked if name != "pk"]
        if others:
            raise ModelDefinitionError(
                cls.__name__,
                others[0],
                "PrimaryKey beside 'pk'; composite keys mark several fields, none called 'pk'",
            )
        return ("pk",)
    if abstract or len(marked) > 1:
        return marked
    name = marked[0] if marked else "pk"
    raise ModelDefinitionError(
        cls.__name__,
        name,
        "a single primary key is called 'pk'; a composite key marks two or more fields",
    )


def _strategy(
    cls: type,
    fields: dict[str, FieldMeta],
    markers: dict[str, PrimaryKey],
    pk_fields: tuple[str, ...],
) -> tuple[PKStrategy, Any]:
    if len(pk_fields) != 1:
        for name in pk_fields:
            given = markers[name].strategy
            if given is not None and given.is_generated:
                raise ModelDefinitionError(
                    cls.__name__, name, f"{given} in a composite key; its parts are assigned"
                )
        return PKStrategy.CUSTOM, tuple[tuple(fields[n].annotation for n in pk_fields)]  # type: ignore[misc] # built from values
    name = pk_fields[0]
    field = fields[name]
    marker = markers.get(name)
    if field.kind is FieldKind.JSON and marker is None and field.annotation is Any:
        raise ModelDefinitionError(
            cls.__name__, name, "a primary key needs a type, such as int or UUID"
        )
    strategy = (marker and marker.strategy) or _DEFAULT_STRATEGY.get(field.kind, PKStrategy.CUSTOM)
    wanted = _STRATEGY_KIND.get(strategy)
    if wanted is not None and wanted is not field.kind:
        raise ModelDefinitionError(
            cls.__name__, name, f"{strategy} needs a key of type {wanted}, not {field.kind}"
        )
    return strategy, field.annotation


def _roles(cls: type, fields: dict[str, FieldMeta]) -> dict[FieldRole, str]:
    roles: dict[FieldRole, str] = {}
    for name, field in fields.items():
        if field.role is None:
            continue
        if field.role in roles:
            raise ModelDefinitionError(
                cls.__name__,
                name,
                f"{roles[field.role]!r} has the role {field.role} already",
            )
        if field.kind is not _ROLE_KIND[field.role]:
            raise ModelDefinitionError(
                cls.__name__,
                name,
                f"{field.role} needs {_ROLE_KIND[field.role]}, not {field.kind}",
            )
        if (field.role is FieldRole.DELETED_AT) != field.nullable:
            raise ModelDefinitionError(
                cls.__name__, name, "deleted_at is optional (| None) and no other role is"
            )
        roles[field.role] = name
    return roles


def _ordered(fields: dict[str, FieldMeta], pk_fields: tuple[str, ...]) -> dict[str, FieldMeta]:
    """Key first, then the model's own fields, then those the library keeps."""
    ordered = {name: fields[name] for name in pk_fields}
    ordered.update((n, f) for n, f in fields.items() if n not in ordered and f.role is None)
    ordered.update((n, f) for n, f in fields.items() if n not in ordered)
    return ordered


def _check_meta(cls: type) -> None:
    """A name in Meta that nobody reads would be a declaration without effect."""
    own: Any = cls.__dict__.get("Meta", object)
    declared: dict[str, Any] = dict(own.__dict__)
    for name, value in declared.items():
        if name.startswith("__"):
            continue
        if name not in _META_NAMES:
            remedy = _META_REMEDIES.get(name, f"it has {', '.join(_META_NAMES)}")
            raise ModelDefinitionError(cls.__name__, None, f"Meta has no {name!r}; {remedy}")
        if name in {"table", "resource"} and (not isinstance(value, str) or not value):
            raise ModelDefinitionError(cls.__name__, None, f"Meta.{name} is a name, not {value!r}")
        if name == "resource" and (":" in value or value == "*"):
            raise ModelDefinitionError(
                cls.__name__, None, "Meta.resource has no ':' and is not '*': grants use both"
            )


def _check_hint(cls: type, name: str, hint: FieldHint) -> None:
    least = {"max_length": 1, "precision": 1, "scale": 0}
    for part, smallest in least.items():
        value = getattr(hint, part)
        if value is not None and (type(value) is not int or value < smallest):
            raise ModelDefinitionError(
                cls.__name__, name, f"{part} is a whole number from {smallest}, not {value!r}"
            )
    for part in ("unique", "index"):
        if type(getattr(hint, part)) is not bool:
            raise ModelDefinitionError(
                cls.__name__, name, f"{part} is True or False, not {getattr(hint, part)!r}"
            )
    if hint.precision is not None and (hint.scale or 0) > hint.precision:
        raise ModelDefinitionError(
            cls.__name__,
            name,
            f"scale {hint.scale} is more than all {hint.precision} digits of precision",
        )


def _check_soft_delete(cls: type, field: FieldMeta) -> None:
    action = None if field.foreign_key is None else field.foreign_key.on_soft_delete
    if action not in {None, "CASCADE", "SET NULL", "RESTRICT", "KEEP"}:
        raise ModelDefinitionError(
            cls.__name__,
            field.name,
            f"on_soft_delete {action!r} is not one of 'CASCADE', 'SET NULL', 'RESTRICT', 'KEEP'",
        )
    if action == "SET NULL" and not field.nullable:
        raise ModelDefinitionError(
            cls.__name__, field.name, "on_soft_delete='SET NULL' needs an optional type (| None)"
        )


def _declared[T](cls: type, attribute: str, kind: type[T]) -> list[T]:
    found: list[T] = []
    for base in reversed(cls.__mro__):
        for item in getattr(base.__dict__.get("Meta"), attribute, ()):
            if not isinstance(item, kind):
                raise ModelDefinitionError(
                    cls.__name__,
                    None,
                    f"Meta.{attribute} holds {kind.__name__} items, not {item!r}",
                )
            found.append(item)
    return found


def _constraints(
    cls: type, fields: Mapping[str, FieldMeta]
) -> tuple[UniqueConstraint | CheckConstraint, ...]:
    found: list[UniqueConstraint | CheckConstraint] = []
    for base in reversed(cls.__mro__):
        for item in getattr(base.__dict__.get("Meta"), "constraints", ()):
            if not isinstance(item, (UniqueConstraint, CheckConstraint)):
                raise ModelDefinitionError(
                    cls.__name__, None, f"Meta.constraints holds constraints, not {item!r}"
                )
            unknown = [n for n in getattr(item, "fields", ()) if n not in fields]
            if unknown:
                raise ModelDefinitionError(
                    cls.__name__, unknown[0], "a unique constraint names it, but it is no field"
                )
            found.append(item)
    return tuple(found)
