"""Makes, for one function, the function that turns its arguments into a cache key.

Binding a signature costs microseconds a call. So the key function is compiled with the very
parameters of the original: Python itself puts positional, keyword and default arguments in place.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import Any
from uuid import uuid4
from weakref import WeakKeyDictionary

from varco_cache._canonical import LONGEST, PLAIN, canonical, shortened
from varco_cache._errors import CacheConfigError, CacheKeyError

type KeyMaker = Callable[..., str]


def key_maker(
    func: Callable[..., Any],
    prefix: str,
    key: str | Callable[..., str] | None,
    *,
    leading: Callable[[Any], str] | None,
) -> KeyMaker:
    """A function with the parameters of `func` that returns the key of a call.

    `leading` says what stands in the key for the first argument of a method.
    """
    if callable(key):
        return lambda *args, **kwargs: prefix + key(*args, **kwargs)
    parameters = list(inspect.signature(func).parameters.values())
    scope: dict[str, Any] = {
        "_plain": PLAIN,
        "_canonical": canonical,
        "_prefix": prefix,
        "_shortened": shortened,
        "_leading": leading,
    }
    shown = ", ".join(_declared(parameters, scope))
    if key is not None:
        _check_template(key, parameters)
        scope["_format"] = key.format
        given = ", ".join(f"{one.name}={one.name}" for one in parameters)
        source = f"def make({shown}):\n    return _prefix + _format({given})"
    else:
        parts = ",".join(_part(one) for one in parameters[leading is not None :])
        first = f"{{_leading({parameters[0].name})}}" if leading is not None else ""
        source = (
            f"def make({shown}):\n"
            f'    _key = f"{{_prefix}}{first}{parts}"\n'
            f"    return _key if len(_key) <= {LONGEST} else _shortened(_prefix, _key)"
        )
    exec(source, scope)  # noqa: S102 # the text is made of the parameter names of a live function
    maker: KeyMaker = scope["make"]
    maker.__qualname__ = func.__qualname__
    maker.__name__ = func.__name__
    return maker


def _declared(parameters: list[Parameter], scope: dict[str, Any]) -> list[str]:
    """The parameters as they stand in a def, with their defaults in `scope`."""
    shown: list[str] = []
    last = None
    for index, one in enumerate(parameters):
        if last is Parameter.POSITIONAL_ONLY and one.kind is not last:
            shown.append("/")
        if one.kind is Parameter.KEYWORD_ONLY and last not in {
            Parameter.KEYWORD_ONLY,
            Parameter.VAR_POSITIONAL,
        }:
            shown.append("*")
        last = one.kind
        star = _STARS.get(one.kind, "")
        default = ""
        if one.default is not Parameter.empty:
            scope[f"_default{index}"] = one.default
            default = f"=_default{index}"
        shown.append(star + one.name + default)
    if last is Parameter.POSITIONAL_ONLY:
        shown.append("/")
    return shown


_STARS: dict[object, str] = {Parameter.VAR_POSITIONAL: "*", Parameter.VAR_KEYWORD: "**"}


def _part(one: Parameter) -> str:
    name = one.name
    if one.kind in {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}:
        return f"{{_canonical('{name}', {name})}}"
    return f"{{{name} if {name}.__class__ in _plain else _canonical('{name}', {name})!r}}"


def _check_template(template: str, parameters: list[Parameter]) -> None:
    try:
        template.format(**{one.name: _Anything() for one in parameters})
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        names = ", ".join(f"{{{one.name}}}" for one in parameters)
        raise CacheConfigError("key", template, f"use only {names} in it") from error


class _Anything:
    """Stands for any argument while a template is checked."""

    def __getattr__(self, name: str) -> _Anything:
        return self

    def __getitem__(self, item: object) -> _Anything:
        return self

    def __format__(self, spec: str) -> str:
        return ""


# Weak keys: an identity dies with its object. One event loop owns it; each entry is made once.
_identities: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def owner_key(owner: Any) -> str:
    """What tells the owner of a method on a shared cache from other owners.

    A class its name, an instance its `__cache_key__`, or else an identity that no other process
    repeats.
    """
    kind: type[Any] = owner.__class__
    if isinstance(owner, type):
        return f"{owner.__module__}.{owner.__qualname__}|"
    if hasattr(kind, "__cache_key__"):
        return f"{owner.__cache_key__()!r}|"
    try:
        found = _identities.get(owner)
        if found is None:
            found = _identities[owner] = uuid4().hex
    except TypeError:
        raise CacheKeyError(
            "self", owner, "give its class a __cache_key__() -> str to tell its instances apart"
        ) from None
    return f"{found}|"


def chosen_owner_key(owner: Any) -> str:
    """Likewise where the owner chose the cache itself: nothing, unless it has a `__cache_key__`."""
    kind: type[Any] = owner.__class__
    if isinstance(owner, type) or hasattr(kind, "__cache_key__"):
        return owner_key(owner)
    return ""
