"""What varco-otel costs a call of a service: CPU time of rounds in one process that take turns."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

from _harness import Figure, main

from varco_domain import (
    Action,
    AsyncService,
    AuthContext,
    DomainModel,
    GrantBasedAuthorizer,
    InMemoryRepositoryProvider,
    IUoWProvider,
    ResourceGrant,
    generate_dtos,
)
from varco_domain.observe import ServiceObserver, add_service_observer, remove_service_observer
from varco_otel import instrument, uninstrument
from varco_sa import SQLAlchemyRepositoryProvider, make_engine

ROUNDS = 41
CALLS = {"memory": 300, "SQLite": 40}


class Post(DomainModel):
    title: str


CREATE, _, _ = generate_dtos(Post)
CTX = AuthContext("u", grants=(ResourceGrant("posts", frozenset(Action)),))


class PostService(AsyncService[Post, int, Any, Any, Any]):
    pass


async def _provider(store: str) -> IUoWProvider:
    if store == "memory":
        return InMemoryRepositoryProvider(Post)
    provider = SQLAlchemyRepositoryProvider(make_engine("sqlite+aiosqlite://"), Post)
    await provider.create_tables()
    return provider


def _sdk() -> None:
    from opentelemetry.sdk.trace import TracerProvider

    instrument(tracer_provider=TracerProvider())


def _watched_by_nobody() -> None:
    """A hook that was used and is not any more."""
    observer = ServiceObserver()
    add_service_observer(observer)
    remove_service_observer(observer)


async def _percent(store: str, operation: str, turn_on: Callable[[], None]) -> float:
    """How many percent more a call takes."""
    service = PostService(await _provider(store), GrantBasedAuthorizer())
    made = await service.create(CREATE(title="x"), CTX)

    def call() -> Awaitable[object]:
        if operation == "get":
            return service.get(made.pk, CTX)
        return service.create(CREATE(title="x"), CTX)

    async def round_of_calls() -> float:
        begun = time.process_time()
        for _ in range(CALLS[store]):
            await call()
        return time.process_time() - begun

    ratios: list[float] = []
    gc.disable()
    for number in range(ROUNDS):
        spent: dict[bool, float] = {}
        for on in (True, False) if number % 2 else (False, True):
            if on:
                turn_on()
            spent[on] = await round_of_calls()
            uninstrument()
        ratios.append(spent[True] / spent[False])
        gc.collect()
    gc.enable()
    return 100 * (statistics.median(ratios) - 1)


def _figures() -> list[Figure]:
    states: dict[str, Callable[[], None]] = {
        "instrumented, without a provider": instrument,
        "uninstrumented again": _watched_by_nobody,
        "instrumented, SDK, no exporter": _sdk,
    }

    def figure(store: str, operation: str, name: str, turn_on: Callable[[], None]) -> Figure:
        group = f"varco-otel: {operation} of a service, {store}, more CPU time"
        return Figure(
            group, name, "%", lambda: asyncio.run(_percent(store, operation, turn_on)), ours=True
        )

    return [
        figure(store, operation, name, turn_on)
        for store in CALLS
        for operation in ("get", "create")
        for name, turn_on in states.items()
    ]


if __name__ == "__main__":
    main(_figures())
