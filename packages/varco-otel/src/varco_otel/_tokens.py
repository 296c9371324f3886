"""Verification of tokens and fetches of key sets; needs varco-auth-jwt."""

from __future__ import annotations

import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from opentelemetry.trace import SpanKind

from varco_auth_jwt import TokenObserver, add_token_observer, remove_token_observer
from varco_otel._names import ERROR_TYPE, KEY_SOURCE, OUTCOME, VERIFIER
from varco_otel._tracing import error_type, spanning, tracer_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

    from opentelemetry.trace import Tracer, TracerProvider

    from varco_otel._metrics import Instruments


class _Tokens(TokenObserver):
    def __init__(self, tracer: Tracer | None, instruments: Instruments) -> None:
        self._tracer = tracer
        self._instruments = instruments

    @contextmanager
    def _verifying(self, verifier: str) -> Generator[None]:
        tracer = self._tracer
        count = self._instruments.tokens_verified
        try:
            if tracer is None:
                yield
            else:
                with spanning(tracer, f"{verifier}.verify", {VERIFIER: verifier}):
                    yield
        except Exception as error:
            count.add(1, {VERIFIER: verifier, OUTCOME: "refused", ERROR_TYPE: error_type(error)})
            raise
        else:
            count.add(1, {VERIFIER: verifier, OUTCOME: "accepted"})

    def verifying(self, verifier: object) -> AbstractContextManager[object]:
        return self._verifying(type(verifier).__name__)

    @contextmanager
    def fetching(self, source: str) -> Generator[None]:
        tracer, begun = self._tracer, time.perf_counter()
        attributes = {KEY_SOURCE: source}
        around = (
            nullcontext()
            if tracer is None
            else spanning(tracer, "fetch keys", attributes, kind=SpanKind.CLIENT)
        )
        try:
            with around:
                yield
        except BaseException as error:
            attributes[ERROR_TYPE] = error_type(error)
            raise
        finally:
            seconds = time.perf_counter() - begun
            self._instruments.keys_fetch_duration.record(seconds, attributes)


def watch(tracer_provider: TracerProvider | None, instruments: Instruments) -> Callable[[], None]:
    """Begin; what is returned ends it."""
    observer = _Tokens(tracer_of(tracer_provider), instruments)
    add_token_observer(observer)
    return lambda: remove_token_observer(observer)
