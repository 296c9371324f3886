"""The parts of the application: circuit breakers, caches, keys, health."""

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from starlette.responses import Response

from varco_console._access import Permission
from varco_console._errors import RefusedError
from varco_console._recorded import recorded
from varco_console._setup import Breaker, Cache, Setup
from varco_console._view import View

_LONGEST: Final = 1_000
_MOST_KEYS: Final = 100


async def parts(view: View) -> Response:
    """How the parts are."""
    health, error = await _health(view)
    return view.page(
        "parts.html",
        breakers=sorted(view.setup.breakers, key=lambda one: one.name),
        caches={name: cache.stats() for name, cache in view.setup.caches.items()},
        issuers=list(_issuers(view.setup)),
        health=health,
        health_error=error,
    )


async def _health(view: View) -> tuple[Mapping[str, str] | None, str | None]:
    """Which part can serve, or why that cannot be said; None where nobody asks them."""
    if view.setup.health is None:
        return None, None
    answer, error = await view.asked(view.setup.health.ready())
    if answer is None:
        return None, error
    found: Mapping[str, str] = json.loads(answer.body).get("parts", {})
    return found, None


@dataclass(frozen=True, slots=True)
class Key:
    """What is shown of a key; see `KeyState` of varco-auth-jwt."""

    kid: str | None
    algorithm: str | None = None
    signs: bool = False
    age: float | None = None
    ends_in: float | None = None


@dataclass(frozen=True, slots=True)
class Issuer:
    """What is shown of an issuer; see `IssuerState` of varco-auth-jwt."""

    name: str
    issuer: str
    keys: Sequence[Key]
    source: str | None = None
    fetch: Any = None
    rotation_due_in: float | None = None


def _issuers(setup: Setup) -> Iterable[Issuer]:
    """What may be told of whose tokens are made and trusted here; never the keys."""
    for name, one in setup.keys.items():
        told: Any = one
        if hasattr(told, "states"):
            yield from (_issuer(f"{name}: {state.label}", state) for state in told.states())
        elif hasattr(told, "state"):
            yield _issuer(name, told.state())
        else:
            active: str = getattr(told, "active_kid", getattr(told, "kid", ""))
            others = sorted(frozenset(getattr(told, "kids", ())) - {active})
            keys = (Key(active, signs=True), *map(Key, others))
            yield Issuer(name, told.issuer, keys)


def _issuer(name: str, state: Any) -> Issuer:
    keys = [
        Key(one.kid, one.algorithm, one.signs, one.age, one.ends_in)
        for one in itertools.islice(state.keys, _MOST_KEYS)
    ]
    return Issuer(name, state.issuer, keys, state.source, state.fetch, state.rotation_due_in)


async def breaker(view: View) -> Response:
    """Open, close or isolate a circuit breaker of this process."""
    form = await view.form()
    view.require(Permission.BREAKER)
    name, action = form.get("name"), form.get("do")
    found = next((one for one in view.setup.breakers if one.name == name), None)
    if found is None or action not in {"open", "close", "isolate"}:
        raise RefusedError(400, "Nothing was done", "There is no such breaker any more.")
    await recorded(view, action, name, {"circuit_breaker": name}, partial(_turn, found, action))
    return view.go("parts")


async def _turn(found: Breaker, action: str) -> int:
    turn = {"open": found.open, "close": found.close, "isolate": found.isolate}
    turn[action]()
    return 1


async def cache(view: View) -> Response:
    """Drop what a cache holds under a tag or a prefix."""
    form = await view.form()
    view.require(Permission.CACHE)
    name, by, text = form.get("name"), form.get("by"), form.get("text").strip()
    found = view.setup.caches.get(name)
    if found is None or by not in {"tag", "prefix"} or not 1 <= len(text) <= _LONGEST:
        raise RefusedError(
            400, "Nothing was dropped", f"Name a tag or a prefix of at most {_LONGEST} characters."
        )
    await recorded(view, f"drop {by}", name, {by: text}, partial(_drop, found, by, text))
    return view.go("parts")


async def _drop(found: Cache, by: str, text: str) -> int:
    await (found.invalidate_tags(text) if by == "tag" else found.delete_prefix(text))
    return 1
