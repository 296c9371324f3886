"""Who watches the fetching of keys and the verification of tokens."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class TokenObserver:
    """Surrounds what is done with what its methods return; they do nothing unless overridden.

    They are called from any thread and task, and must be quick. What they return is entered, and
    left with the error, if any, a cancellation included; it must not suppress it.
    """

    def verifying(self, verifier: object) -> AbstractContextManager[object] | None:  # noqa: ARG002  # for those who override it
        """What to enter while a parser, authority or registry verifies a token; None for nothing.

        It is never told the token.
        """
        return None

    def fetching(self, source: str) -> AbstractContextManager[object] | None:  # noqa: ARG002  # likewise
        """What to enter while the keys of a source are fetched or read; None for nothing.

        Args:
            source: The `source_id`: a URL or a path.
        """
        return None


observers: tuple[TokenObserver, ...] = ()


def around_fetching(source: str) -> ExitStack:
    """What the observers want around a fetch."""
    return _entered([one.fetching(source) for one in observers])


def around_verifying(verifier: object) -> ExitStack | None:
    """What the observers want around a verification; None for nothing."""
    around = [one.verifying(verifier) for one in observers]
    return _entered(around) if any(one is not None for one in around) else None


def _entered(around: list[AbstractContextManager[object] | None]) -> ExitStack:
    with ExitStack() as stack:
        for one in around:
            if one is not None:
                stack.enter_context(one)
        return stack.pop_all()
