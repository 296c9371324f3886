"""The default estimate of what an entry weighs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, cast

_MOST_OBJECTS = 10_000


def approximate_size(key: Any, value: Any) -> int:
    """Bytes of a key and a value: a walk through built-in containers and instance dictionaries.

    An object met twice counts once. It stops at 10,000 objects and extrapolates nothing.
    """
    total = 0
    seen: set[int] = set()
    stack = [key, value]
    while stack and len(seen) < _MOST_OBJECTS:
        one = stack.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        total += sys.getsizeof(one)
        if isinstance(one, str | bytes | int | float):
            continue
        if isinstance(one, Mapping):
            stack += _parts(one)
        elif isinstance(one, list | tuple | set | frozenset):
            stack.extend(cast("list[Any]", one))
        elif hasattr(one, "__dict__"):
            stack.append(vars(one))
    return total


def _parts(mapping: Any) -> list[Any]:
    return [*mapping.keys(), *mapping.values()]
