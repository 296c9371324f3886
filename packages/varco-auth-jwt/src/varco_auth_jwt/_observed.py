"""Puts observers around `verify`, so that it costs nothing while there are none."""

from __future__ import annotations

from functools import update_wrapper
from inspect import iscoroutinefunction, markcoroutinefunction
from typing import TYPE_CHECKING, Any, Final

from varco_auth_jwt import _observer
from varco_auth_jwt._authority import JwtAuthority
from varco_auth_jwt._parser import JwtParser
from varco_auth_jwt._registry import TrustedIssuerRegistry
from varco_auth_jwt._rotation import MultiKeyAuthority

if TYPE_CHECKING:
    from collections.abc import Callable

    from varco_auth_jwt._observer import TokenObserver

_VERIFIERS: Final[tuple[type, ...]] = (
    JwtParser,
    JwtAuthority,
    MultiKeyAuthority,
    TrustedIssuerRegistry,
)
# The wrapped methods, and what they wrap.
_wrapped: Final[dict[type, tuple[Callable[..., Any], Callable[..., Any]]]] = {}


def add_token_observer(observer: TokenObserver) -> None:
    """Have an observer watch all verification and fetching of this process; once, if added again.

    Not while tokens are verified in another thread.
    """
    if observer in _observer.observers:
        return
    if not _observer.observers:
        for cls in _VERIFIERS:
            written = vars(cls)["verify"]
            call = _watched_async(written) if iscoroutinefunction(written) else _watched(written)
            update_wrapper(call, written)
            _wrapped[cls] = call, written
            cls.verify = call  # type: ignore[attr-defined] # each has it
    _observer.observers = (*_observer.observers, observer)


def remove_token_observer(observer: TokenObserver) -> None:
    """Undo `add_token_observer`; an unknown observer is no error."""
    _observer.observers = tuple(one for one in _observer.observers if one is not observer)
    if _observer.observers:
        return
    for cls, (call, written) in _wrapped.items():
        if vars(cls)["verify"] is call:  # else it was patched since; this one passes it through
            cls.verify = written  # type: ignore[attr-defined] # each has it
    _wrapped.clear()


def _watched(written: Callable[..., Any]) -> Callable[..., Any]:
    def verify(self: Any, *args: Any, **kwargs: Any) -> Any:
        around = _observer.around_verifying(self)
        if around is None:
            return written(self, *args, **kwargs)
        with around:
            return written(self, *args, **kwargs)

    return verify


def _watched_async(written: Callable[..., Any]) -> Callable[..., Any]:
    def verify(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = written(self, *args, **kwargs)
        return _surrounded(self, call) if _observer.observers else call

    return markcoroutinefunction(verify)


async def _surrounded(verifier: object, call: Any) -> Any:
    around = _observer.around_verifying(verifier)
    if around is None:
        return await call
    with around:
        return await call
