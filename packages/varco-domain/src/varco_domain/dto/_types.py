"""Whether the values of one type may stand where another is written."""

import types
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAliasType, Union, get_args, get_origin

from varco_domain._fields import FieldKind, UnsupportedTypeError, kind_of


def bare(annotation: Any) -> Any:
    """A type without `Annotated` and names of aliases, at any depth."""
    if isinstance(annotation, TypeAliasType):
        return bare(annotation.__value__)
    origin: Any = get_origin(annotation)
    args: tuple[Any, ...] = get_args(annotation)
    if origin is Annotated:
        return bare(args[0])
    if isinstance(origin, TypeAliasType):
        return bare(origin.__value__[args])
    if not args or origin is Literal:
        return annotation
    inner = tuple(bare(arg) for arg in args)
    if origin in {Union, types.UnionType}:
        return Union[inner]  # noqa: UP007 - built from values
    generic: Any = origin
    return generic[inner]


def fits(value: Any, place: Any) -> bool:
    """Tell whether values of one type may stand where another is written, as far as is known.

    Types that no model has are the author's own affair.
    """
    value, place = bare(value), bare(place)
    if Any in (value, place) or place is object or value == place:
        return True
    if get_origin(value) in {Union, types.UnionType}:
        return all(fits(one, place) for one in get_args(value))
    if get_origin(place) in {Union, types.UnionType}:
        return any(fits(value, one) for one in get_args(place))
    try:
        given, given_class, given_choices = kind_of(value)
        wanted, wanted_class, wanted_choices = kind_of(place)
    except UnsupportedTypeError:
        return True
    if FieldKind.JSON in (given, wanted):
        return given is wanted
    if wanted is FieldKind.LITERAL:
        return given is wanted and set(given_choices) <= set(wanted_choices)
    if (given_class, wanted_class) == (int, float):
        return True
    if issubclass(given_class, datetime) != issubclass(wanted_class, datetime):
        return False  # to Python, but to nobody else, a datetime is a date
    return issubclass(given_class, wanted_class)


def shown(annotation: Any) -> str:
    """A type as one would write it."""
    annotation = bare(annotation)
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation.__name__
    return repr(annotation).replace("typing.", "")
