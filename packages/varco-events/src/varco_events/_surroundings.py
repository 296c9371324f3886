"""What of a producer's surroundings travels with an event, and surrounds its handlers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from uuid import UUID

    from varco_events._envelope import EventEnvelope
    from varco_events._event import Event


# The ids that every event has, as headers.
CORRELATION_ID: Final = "correlation-id"
CAUSATION_ID: Final = "causation-id"


class ContextPart(ABC):
    """One thing that handlers have in common with who produced their event: say, a trace.

    Register one object for the process with `add_context`. Both methods are called for every
    event, from any task, and must be quick; an error of `inject` is the producer's, one of
    `attach` fails the delivery.
    """

    @abstractmethod
    def inject(self, event: Event) -> Mapping[str, str]:
        """The headers for `event`, which is being put into an envelope; lower-case names."""

    @abstractmethod
    def attach(self, envelope: EventEnvelope) -> AbstractContextManager[object] | None:
        """What to enter around the handlers of `envelope`; None for nothing.

        It must also undo what surrounds the relay or the consumer when the envelope has no header
        of this part: a handler sees its event's surroundings, never those of who delivers.
        """


_added: list[ContextPart] = []


@cache
def _built_in() -> tuple[ContextPart, ...]:
    """The part of the tenant, where varco-domain is installed; looked for when it is needed."""
    if find_spec("varco_domain") is None:
        return ()
    module = import_module("varco_events._tenants")
    return (module.TenantPart(),)


@cache
def _parts() -> tuple[ContextPart, ...]:
    """All, the outermost first."""
    return (*_built_in(), *_added)


def add_context(part: ContextPart) -> None:
    """Let `part` travel with every event of this process; adding it again changes nothing.

    The last one added is the innermost around handlers.
    """
    if part not in _added:
        _added.append(part)
        _parts.cache_clear()


def remove_context(part: ContextPart) -> None:
    """Undo `add_context`; an unknown part is no error."""
    if part in _added:
        _added.remove(part)
        _parts.cache_clear()


def injected(event: Event) -> dict[str, str]:
    """The headers for `event`, which is produced here and now."""
    headers = headers_of_ids(event.correlation_id, event.causation_id)
    for part in _parts():
        headers.update(part.inject(event))
    return headers


def headers_of_ids(correlation_id: str | None, causation_id: UUID | None) -> dict[str, str]:
    """The ids that an event has, as headers."""
    headers: dict[str, str] = {}
    if correlation_id is not None:
        headers[CORRELATION_ID] = correlation_id
    if causation_id is not None:
        headers[CAUSATION_ID] = str(causation_id)
    return headers


def attached(envelope: EventEnvelope) -> ExitStack | None:
    """What the parts entered; None when that is nothing."""
    stack: ExitStack | None = None
    try:
        for part in _parts():
            surroundings = part.attach(envelope)
            if surroundings is not None:
                stack = stack or ExitStack()
                stack.enter_context(surroundings)
    except BaseException:
        if stack is not None:
            stack.close()
        raise
    return stack
