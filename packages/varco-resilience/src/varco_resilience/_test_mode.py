"""Retrying without waiting, for the tests of applications."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from varco_resilience._checks import at_least

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


@dataclass(frozen=True, slots=True)
class _TestMode:
    max_attempts: int | None
    on_wait: Callable[[float], object] | None


_active: _TestMode | None = None  # one reference, replaced whole; the last one to set it wins


def active() -> _TestMode | None:
    """The test mode in force, if any."""
    return _active


@contextmanager
def retry_test_mode(
    *, max_attempts: int | None = None, on_wait: Callable[[float], object] | None = None
) -> Generator[None]:
    """Make every retry of this process go without waiting.

    Args:
        max_attempts: No call is attempted more often, whatever its policy says.
        on_wait: Called with the seconds instead of each wait, say to advance a fake clock.
    """
    global _active  # noqa: PLW0603  # process-wide on purpose: threads and tasks of the code under test
    if max_attempts is not None:
        at_least("max_attempts", max_attempts, 1, whole=True)
    before = _active
    _active = _TestMode(max_attempts, on_wait)
    try:
        yield
    finally:
        _active = before
