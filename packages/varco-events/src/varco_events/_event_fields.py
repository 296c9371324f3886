"""Refuses fields whose values would not come back from an event's bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, Secret, SecretBytes, SecretStr
from pydantic.functional_serializers import PlainSerializer, WrapSerializer

from varco_events._errors import EventFieldError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

_SECRETS = (Secret, SecretStr, SecretBytes)


def check_fields(cls: type[BaseModel]) -> None:
    """Look at the fields of an event class, those of the models in it included.

    Raises:
        EventFieldError: a secret, which is written as asterisks, or a field without a default that
            is left out of what is written.
    """
    for model, name, field in _fields(cls, {cls}):
        where = f"{cls.__qualname__}: field {name!r} of {model.__qualname__}"
        if field.exclude and field.is_required():
            raise EventFieldError(
                f"{where} is excluded and required, so that no event could be read again; give it "
                f"a default, or take exclude=True away"
            )
        if _is_secret(field.annotation) and not _is_written_otherwise(model, name, field):
            raise EventFieldError(
                f"{where} is a secret and would be written as asterisks; keep it out of events, or "
                f"write it with a field_serializer of your own"
            )


def _fields(
    model: type[BaseModel], seen: set[type[BaseModel]]
) -> Iterator[tuple[type[BaseModel], str, FieldInfo]]:
    for name, field in model.model_fields.items():
        yield model, name, field
        for inner in _types(field.annotation):
            if isinstance(inner, type) and issubclass(inner, BaseModel) and inner not in seen:
                seen.add(inner)
                yield from _fields(inner, seen)


def _types(annotation: Any) -> Iterator[Any]:
    """The annotation and what it is made of."""
    yield annotation
    for argument in get_args(annotation):
        yield from _types(argument)


def _is_secret(annotation: Any) -> bool:
    return any(isinstance(one, type) and issubclass(one, _SECRETS) for one in _types(annotation))


def _is_written_otherwise(model: type[BaseModel], name: str, field: FieldInfo) -> bool:
    decorators = model.__pydantic_decorators__
    by_method = any(
        name in one.info.fields or "*" in one.info.fields
        for one in decorators.field_serializers.values()
    )
    by_annotation = any(isinstance(one, PlainSerializer | WrapSerializer) for one in field.metadata)
    return by_method or by_annotation or bool(decorators.model_serializers)
