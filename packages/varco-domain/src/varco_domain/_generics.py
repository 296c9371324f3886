"""What stands for a generic class's type variables in its subclasses."""

from typing import Any, TypeVar, get_args, get_origin


def type_arguments(cls: type, root: type) -> tuple[Any, ...]:
    """What stands for the type variables of `root` in a subclass; those left open stay."""
    if cls is root:
        return tuple(cls.__parameters__)  # type: ignore[attr-defined] # root is generic
    best: tuple[Any, ...] = ()
    for base in cls.__dict__.get("__orig_bases__", cls.__bases__):
        origin = get_origin(base) or base
        if not (isinstance(origin, type) and issubclass(origin, root)):
            continue
        inner = type_arguments(origin, root)
        names: tuple[Any, ...] = getattr(origin, "__parameters__", ())
        known: dict[Any, Any] = dict(zip(names, get_args(base), strict=False))
        found = tuple(known.get(argument, argument) for argument in inner)
        if not best or _open(found) < _open(best):
            best = found
    return best


def _open(arguments: tuple[Any, ...]) -> int:
    return sum(isinstance(argument, TypeVar) for argument in arguments)
