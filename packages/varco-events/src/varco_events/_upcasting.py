"""Old versions of an event, lifted step by step to the version of its class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from varco_events._errors import EventsConfigError, UpcastError
from varco_events._subscription import handler_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from varco_events._event import Event

type Upcast = Callable[[dict[str, Any]], dict[str, Any]]

# Filled while modules are imported, read afterwards; single dict operations.
_steps: dict[tuple[str, int], Upcast] = {}


def upcaster[F: "Upcast"](event_type: type[Event] | str, *, from_version: int) -> Callable[[F], F]:
    """Register the decorated function as the step from `from_version` to the next version.

    It takes the fields as plain JSON values and returns those of the next version.

    Raises:
        EventsConfigError: another function is that step already.
        ValueError: there is no such version.
    """
    if from_version < 1:
        raise ValueError(f"from_version must be 1 or more, not {from_version!r}")
    name = event_type if isinstance(event_type, str) else event_type.event_type_name()

    def register(step: F) -> F:
        known, place = _steps.get((name, from_version)), handler_name(step)
        if known is not None and "<locals>" not in place and handler_name(known) != place:
            raise EventsConfigError(
                f"{name} version {from_version} is lifted by {handler_name(known)}, so {place} "
                f"cannot do it too; remove one of them"
            )
        _steps[name, from_version] = step
        return step

    return register


def upcast(name: str, data: dict[str, Any], version: int, current: int) -> dict[str, Any]:
    """The fields of `current`, from those of `version`.

    Raises:
        UpcastError: the event is newer than its class, or a step is missing or fails.
    """
    if version > current:
        raise UpcastError(name, version, current, "it is newer than the class of this process")
    for step_from in range(version, current):
        step = _steps.get((name, step_from))
        if step is None:
            reason = f"there is no upcaster(..., from_version={step_from})"
            raise UpcastError(name, version, current, reason)
        try:
            data = step(data)
        except Exception as error:
            reason = f"the upcaster from version {step_from} failed: {error!r}"
            raise UpcastError(name, version, current, reason) from error
    return data
