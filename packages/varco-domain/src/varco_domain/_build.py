"""Make a subclass of DomainModel a dataclass, once, and check its declaration."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, cast, get_origin

from varco_domain._annotations import annotations_of
from varco_domain._errors import ModelDefinitionError
from varco_domain._fields import unwrap
from varco_domain._hints import PKStrategy, PrimaryKey, pk_field
from varco_domain._parse import UnresolvedNameError, hint_of, is_abstract, parse

_RESERVED = frozenset({"raw", "is_persisted", "stored_key", "Meta"})


class _Spec(dataclasses.Field[Any]):
    """What the author wrote as `field(...)`: to the class a Field, to an instance the default."""

    __slots__ = ()

    @classmethod
    def of(cls, original: "dataclasses.Field[Any]") -> "_Spec":
        """Copy a field."""
        spec = cls.__new__(cls)
        for slot in dataclasses.Field.__slots__:
            setattr(spec, slot, getattr(original, slot))
        return spec

    def __get__(self, instance: object | None, owner: type) -> Any:
        if instance is None:
            return self
        if self.default is dataclasses.MISSING:
            raise AttributeError(f"{owner.__name__!r} object has no attribute {self.name!r}")
        return self.default


def build_model(cls: Any, local_names: Mapping[str, Any]) -> None:
    """Turn the class into a keyword-only dataclass and read its metadata.

    A type that is not defined yet is not an error here; it is one at first use.

    Raises:
        ModelDefinitionError: The declaration is wrong; names the field.
    """
    own = _own_annotations(cls, local_names)
    _check_own(cls, own)
    _check_mixins(cls)
    _keep_inherited_specs(cls, own)
    composite = _add_primary_key(cls, local_names)
    own_values: dict[str, Any] = dict(cls.__dict__)
    declared = {n: v for n, v in own_values.items() if _is_spec(v)}
    try:
        dataclass(kw_only=True, eq=False)(cls)
    except (TypeError, ValueError) as error:
        raise ModelDefinitionError(cls.__name__, None, str(error)) from error
    _check_inherited(cls, own)
    # A later explicit @dataclass processes the class again: it then has to find what the author
    # wrote, and leave the constructor, equality and hash alone.
    for name, value in declared.items():
        setattr(cls, name, _Spec.of(value))
    for method in ("__eq__", "__hash__"):
        if method not in cls.__dict__:
            setattr(cls, method, getattr(cls, method))
    if composite:
        cls.pk = property(_composite_pk(composite))
    try:
        cls.__varco_meta__ = parse(cls, local_names)
    except UnresolvedNameError:
        return


def _is_spec(value: Any) -> bool:
    return isinstance(value, dataclasses.Field)


def _own_annotations(cls: type, local_names: Mapping[str, Any] | None = None) -> dict[str, Any]:
    found = annotations_of(cls)
    return {n: a for n, a in found.items() if not _is_class_var(hint_of(cls, n, local_names))}


def _is_class_var(hint: Any) -> bool:
    if isinstance(hint, str):
        return hint.partition("[")[0].endswith("ClassVar")
    return hint is ClassVar or get_origin(hint) is ClassVar


def _check_own(cls: type, own: dict[str, Any]) -> None:
    if cls.__dict__.get("__slots__"):
        raise ModelDefinitionError(cls.__name__, None, "slots are not supported; drop slots=True")
    for name in own:
        if name.startswith("_") or name in _RESERVED:
            raise ModelDefinitionError(
                cls.__name__,
                name,
                "a field's name has no leading underscore and is no method's name",
            )
        default: Any = cls.__dict__.get(name)
        if default.__class__ in {list, dict, set}:
            raise ModelDefinitionError(
                cls.__name__,
                name,
                "a mutable default is shared by all instances; "
                f"use field(default_factory={type(default).__name__})",
            )
    for name, value in cls.__dict__.items():
        if _is_spec(value) and name not in own:
            raise ModelDefinitionError(cls.__name__, name, "a field needs a type annotation")


def _check_inherited(cls: type, own: dict[str, Any]) -> None:
    """A field of a base stays one: neither a ClassVar nor a property may take its place."""
    fields = {f.name for f in dataclasses.fields(cast("Any", cls))}
    bases: tuple[Any, ...] = cls.__mro__[1:-1]
    order: tuple[type, ...] = cls.__mro__
    for base in bases:
        inherited = dataclasses.fields(base) if hasattr(base, "__dataclass_fields__") else ()
        for name in (f.name for f in inherited):
            hides = name not in own and isinstance(cls.__dict__.get(name), property)
            if name not in fields or hides:
                raise ModelDefinitionError(
                    cls.__name__, name, f"it is a field of {base.__name__} and has to stay one"
                )
            holder = next((each for each in order if name in each.__dict__), None)
            if holder is not None and name not in annotations_of(holder):
                raise ModelDefinitionError(
                    cls.__name__,
                    name,
                    f"{holder.__name__} gives it a default without its type, which a dataclass "
                    f"passes over; write '{name}: <its type> = ...'",
                )


def _check_mixins(cls: type) -> None:
    for base in cls.__mro__[1:-1]:
        if base.__dict__.get("__dataclass_fields__") is None and not hasattr(base, "_raw_orm"):
            loose = next(iter(_own_annotations(base)), None)
            if loose is not None:
                raise ModelDefinitionError(
                    cls.__name__,
                    loose,
                    f"the mixin {base.__name__} declares it but is no dataclass; "
                    "decorate the mixin with @dataclass(kw_only=True)",
                )


def _keep_inherited_specs(cls: type, own: dict[str, Any]) -> None:
    """A field declared again without a value keeps its base's `field(...)`, as its own copy."""
    for name in own:
        inherited: Any = getattr(cls, name, None)
        if name not in cls.__dict__ and _is_spec(inherited):
            setattr(cls, name, _Spec.of(inherited))


def _add_primary_key(cls: Any, local_names: Mapping[str, Any]) -> tuple[str, ...]:
    """Give a concrete class without a key the default one; return the names of a composite key."""
    if is_abstract(cls):
        return ()
    inherited: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        inherited.update((name, base) for name in annotations_of(base))
    if "pk" in inherited:
        return ()
    marked = tuple(
        name
        for name, base in inherited.items()
        if _is_primary_key(hint_of(base, name, local_names if base is cls else None))
    )
    if marked:
        return marked
    cls.__annotations__ = {
        "pk": Annotated[int, PrimaryKey(PKStrategy.INT_AUTO)],
        **annotations_of(cls),
    }
    cls.pk = pk_field()
    return ()


def _is_primary_key(hint: Any) -> bool:
    if isinstance(hint, str):
        return "PrimaryKey(" in hint
    return any(isinstance(item, PrimaryKey) for item in unwrap(hint)[2])


def _composite_pk(names: tuple[str, ...]) -> Any:
    def pk(self: Any) -> tuple[Any, ...]:
        """The parts of the composite key."""
        return tuple(getattr(self, name) for name in names)

    return pk
