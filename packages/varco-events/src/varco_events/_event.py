"""The event: a frozen pydantic model with an identity, a type name and a version."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar, TypeGuard
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from varco_events import _registry
from varco_events._event_fields import check_fields
from varco_events._tracing import current_causation_id, current_correlation_id


def _now() -> datetime:
    return datetime.now(UTC)


class Event(BaseModel):
    """Something that happened. Subclass it and add fields.

    `__event_type__` fixes the type name (the class name by default), `__event_version__` says
    which version of the fields the class describes. An event that is created while another is
    handled, or inside `correlation_context`, carries the ids of both.
    """

    # Bytes and non-finite floats survive JSON.
    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="strings"
    )

    __event_type__: ClassVar[str]
    __event_version__: ClassVar[int] = 1
    # How every envelope of the class begins: `{"type":"...","version":1,"data":`.
    __event_head__: ClassVar[bytes]

    event_id: UUID = Field(default_factory=uuid4)
    timestamp: datetime = Field(default_factory=_now)
    correlation_id: str | None = Field(default_factory=current_correlation_id)
    causation_id: UUID | None = Field(default_factory=current_causation_id)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        _register(cls)

    @classmethod
    def model_rebuild(cls, *, _parent_namespace_depth: int = 2, **options: Any) -> bool | None:
        """As of any model; serializers then use what was built."""
        depth = _parent_namespace_depth + 1  # for the frame of this method
        rebuilt = super().model_rebuild(_parent_namespace_depth=depth, **options)
        check_fields(cls)
        _registry.changed()
        return rebuilt

    @classmethod
    def event_type_name(cls) -> str:
        """The name that stands for this class outside of the process.

        That of a parametrization names its arguments with their modules, so that no two share one.
        """
        name: str | None = cls.__dict__.get("__event_type__")
        if name is not None:
            return name
        parts = _registry.generic_parts(cls)
        if parts is None:
            return cls.__name__
        origin, arguments = parts
        return f"{origin.event_type_name()}[{', '.join(map(_registry.argument_name, arguments))}]"

    def event_key(self) -> str | None:
        """What the order of events is kept for, say the id of an order; None for no order."""
        return None


def _register(cls: type[Event]) -> None:
    check_fields(cls)
    _registry.register(cls)
    head = {"type": cls.event_type_name(), "version": cls.__event_version__}
    cls.__event_head__ = to_json(head)[:-1] + b',"data":'


_register(Event)


class RawEvent(Event):
    """An event of a type or version that this process has no class for, kept as it came.

    Listeners get it when they subscribed to its type by name, to `RawEvent` or to `Event`.
    """

    raw_type: str
    raw_version: int = 1
    payload: bytes

    def __str__(self) -> str:
        return f"RawEvent({self.raw_type!r}, version {self.raw_version}, {self.event_id})"


def is_raw(event: Event) -> TypeGuard[RawEvent]:
    """Whether an event is kept as it came: `isinstance` of a model takes twenty times as long."""
    return RawEvent in type(event).__mro__


def type_name_of(event: Event) -> str:
    """The type name an event travels under."""
    return event.raw_type if is_raw(event) else event.event_type_name()
