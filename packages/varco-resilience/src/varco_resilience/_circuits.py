"""Which circuit breakers a call will meet, so that a retry does not wait for a refusal."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Callable

    from varco_resilience._breaker_core import BreakerCore
    from varco_resilience._errors import CircuitOpenError

type Circuits = tuple[BreakerCore, ...]

# Beside the functions and not on them, since other decorators copy attributes. Written once for
# each wrapper, before anyone else has it.
_known: WeakKeyDictionary[Callable[..., Any], Circuits] = WeakKeyDictionary()


def note_circuits(wrapper: Callable[..., Any], circuits: Circuits) -> None:
    """Note which breakers every call of a wrapper passes."""
    if circuits:
        _known[wrapper] = circuits


def circuits_of(func: Any) -> Circuits:
    """The breakers that every call of a function passes, as far as it is made by this package."""
    while isinstance(func, functools.partial):
        func = func.func
    func = getattr(func, "__func__", func)
    try:
        return _known.get(func, ())
    except TypeError:  # it cannot be a key
        return ()


def refusal_after(circuits: Circuits, seconds: float) -> CircuitOpenError | None:
    """The refusal that a call would meet so much later, if one of the breakers stays open."""
    for circuit in circuits:
        refusal = circuit.refusal()
        if refusal is not None and refusal.retry_after > seconds:
            return refusal
    return None
