"""Running a coroutine of a test that is none itself, in the loop that its fixture chose."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def play[*Args, T](backend: Any, work: Callable[[*Args], Awaitable[T]], *args: *Args) -> T:
    """Run `work` in a loop of the kind that an `anyio_backend` fixture names.

    In a thread of its own, for a fixture may have a loop in this one.
    """
    name, options = backend if isinstance(backend, tuple) else (backend, {})  # pyright: ignore[reportUnknownVariableType]  # as anyio's plugin takes it
    run = partial(anyio.run, work, *args, backend=str(name), backend_options=dict(options))  # pyright: ignore[reportUnknownArgumentType]
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()
