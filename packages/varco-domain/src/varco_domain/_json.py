"""Values that are stored as JSON: what of them comes back as it was."""

import dataclasses
from collections.abc import Callable
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from varco_domain._limits import JSON_DEPTH, JSON_INT_BITS, check_text

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_NUMBERS: Final = frozenset({int, float, bool, type(None)})

type Codec = tuple[Callable[[Any], Any], Callable[[Any], Any]]


def codec_of(annotation: Any) -> Codec:
    """What dumps values of a type as JSON data, and what loads them; the first loads pydantic.

    `dump` takes values that `keep_json` has let through.
    """
    adapters: list[TypeAdapter[Any]] = []

    def adapter() -> "TypeAdapter[Any]":
        if not adapters:
            from pydantic import TypeAdapter  # noqa: PLC0415 - models alone load no pydantic

            adapters.append(TypeAdapter(annotation))
        return adapters[0]

    def dump(value: Any) -> Any:
        return adapter().dump_python(value, mode="json", round_trip=True, warnings="error")

    def load(data: Any) -> Any:
        return adapter().validate_python(data, by_alias=True, by_name=True)

    return dump, load


def keep_json(annotation: Any) -> Callable[[Any], Any]:
    """The function that checks values of a type, and returns them as they will come back."""
    dump, load = codec_of(annotation)

    def keep(value: Any) -> Any:
        try:
            data = dump(value)
        except Exception as error:  # noqa: BLE001 - whatever a type's own serializer raises
            raise ValueError(f"it cannot be written as JSON: {_first_line(error)}") from None
        _check(data)
        try:
            kept = load(_canonical(data))
        except Exception as error:  # noqa: BLE001 - likewise
            raise ValueError(f"it could not be read again: {_first_line(error)}") from None
        where = _difference(value, kept)
        if where is not None:
            raise ValueError(f"it would come back from JSON as something else: {where}")
        return kept

    return keep


def _canonical(data: Any) -> Any:
    """JSON data as every engine gives it back. It is not deep any more.

    Of the two zeros engines keep one, and PostgreSQL keeps the keys of an object in this order.
    """
    if data.__class__ is list:
        return [_canonical(item) for item in data]
    if data.__class__ is dict:
        return {key: _canonical(data[key]) for key in sorted(data, key=_place)}
    return data + 0.0 if data.__class__ is float else data


def _place(key: str) -> tuple[int, bytes]:
    stored = key.encode()
    return len(stored), stored


def _first_line(error: BaseException) -> str:
    """What pydantic says first; the lines after it quote the value."""
    return str(error).partition("\n")[0] or type(error).__name__


def _check(data: Any) -> None:
    """Look at JSON data level by level: its depth is the caller's to choose."""
    level: list[Any] = [data]
    depth = 0
    while level:
        deeper: list[Any] = []
        nested = False
        for item in level:
            cls = item.__class__
            if cls is str:
                check_text(item)
            elif cls is list:
                nested = True
                deeper += item
            elif cls is dict:
                nested = True
                for key in item:
                    if key.__class__ is not str:
                        raise ValueError("the keys of a JSON object are str")
                    check_text(key)
                deeper += item.values()
            else:
                _check_number(item)
        depth += nested
        if depth > JSON_DEPTH:
            raise ValueError(f"lists and objects are at most {JSON_DEPTH} deep in each other")
        level = deeper


def _check_number(item: Any) -> None:
    if item.__class__ not in _NUMBERS:
        raise ValueError(f"JSON has no {type(item).__name__}")
    if item.__class__ is float and not isfinite(item):
        raise ValueError("a finite number is needed, not NaN or infinity")
    if item.__class__ is int and item.bit_length() > JSON_INT_BITS:
        raise ValueError("an int has at most 4,200 digits")


def _difference(given: Any, kept: Any) -> str | None:
    """Where two values differ, in class or worth; None when they are the same."""
    cls = given.__class__
    if cls is not kept.__class__:
        # Type checkers take an int for a float.
        if cls is int and kept.__class__ is float and given == kept:
            return None
        return f"{type(kept).__name__} for {cls.__name__}"
    if cls is dict:
        own = {key: key for key in kept}
        if given.keys() != own.keys():
            return "other keys"
        found = _first_difference([*given], [own[key] for key in given])
        return found or _first_difference([*given.values()], [kept[key] for key in given])
    if cls is list or cls is tuple:
        return _first_difference(given, kept)
    if dataclasses.is_dataclass(cls):
        names = [field.name for field in dataclasses.fields(cls)]
        return _first_difference(
            [getattr(given, name) for name in names], [getattr(kept, name) for name in names]
        )
    if hasattr(cls, "__pydantic_core_schema__") and given.__dict__.keys() == kept.__dict__.keys():
        found = _first_difference([*given.__dict__.values()], [*kept.__dict__.values()])
        return (
            found
            or _difference(given.__pydantic_extra__, kept.__pydantic_extra__)
            or _difference(given.__pydantic_private__, kept.__pydantic_private__)
        )
    return None if given == kept else f"another {cls.__name__}"


def _first_difference(given: Any, kept: Any) -> str | None:
    if len(given) != len(kept):
        return f"{len(kept)} items for {len(given)}"
    pairs = zip(given, kept, strict=True)
    return next((found for a, b in pairs if (found := _difference(a, b)) is not None), None)
