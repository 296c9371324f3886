"""Values to bytes and back."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Callable


@runtime_checkable
class Serializer[T](Protocol):
    """Turns values into bytes and back; implementations keep no state between calls."""

    def serialize(self, value: T, /) -> bytes:
        """The bytes of `value`."""
        ...

    def deserialize(self, data: bytes, type_hint: type[T] | None = None) -> T:
        """The value of `data`, validated as `type_hint` where there is one."""
        ...


_adapter = cast("Callable[[Any], TypeAdapter[Any]]", lru_cache(maxsize=256)(TypeAdapter))


class JsonSerializer:
    """Any value that pydantic can write as JSON; models come back through `type_hint`."""

    def serialize(self, value: Any) -> bytes:
        """UTF-8 JSON."""
        return to_json(value)

    def deserialize(self, data: bytes, type_hint: type[Any] | None = None) -> Any:
        """Plain Python values, or an instance of `type_hint`."""
        return from_json(data) if type_hint is None else _adapter(type_hint).validate_json(data)


class NoOpSerializer:
    """Bytes that are serialized already."""

    def serialize(self, value: bytes) -> bytes:
        """The same object."""
        return value

    def deserialize(self, data: bytes, type_hint: type[Any] | None = None) -> bytes:  # noqa: ARG002  # the protocol
        """The same object."""
        return data
