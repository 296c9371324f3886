"""Makes, for one function, the function that turns its arguments into a cache key.

The key function is compiled with the very parameters of the original: Python itself puts
positional, keyword and default arguments in place. Binding a signature costs microseconds a call,
and with a closure that does it instead a hit takes half as long again, with defaults twice as long.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import Any

from varco_cache._canonical import LONGEST, PLAIN, canonical, shortened
from varco_cache._errors import CacheConfigError, CacheKeyError
from varco_cache._identity import given_key, plain_function

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
        name = f"key= of {plain_function(func).__qualname__}"
        return lambda *args, **kwargs: prefix + given_key(key(*args, **kwargs), name, key)
    parameters = list(inspect.signature(func).parameters.values())
    # Names that no parameter has: one of the same name would hide them.
    scope: dict[str, Any] = {
        "_varco_plain": PLAIN,
        "_varco_type": type,
        "_varco_canonical": canonical,
        "_varco_prefix": prefix,
        "_varco_shortened": shortened,
        "_varco_leading": leading,
    }
    shown = ", ".join(_declared(parameters, scope))
    if key is not None:
        _check_template(key, parameters)
        scope["_varco_format"] = key.format
        given = ", ".join(f"{one.name}={one.name}" for one in parameters)
        source = f"def make({shown}):\n    return _varco_prefix + _varco_format({given})"
    else:
        first = 0 if leading is None else 1
        shares = enumerate(parameters[first:], first)
        parts = ",".join(_part(one, f"{_DEFAULT}{index}") for index, one in shares)
        lead = "_varco_prefix"
        if leading is not None:
            lead += f" + _varco_leading({parameters[0].name})"
        source = (
            f"def make({shown}):\n"
            f"    _varco_lead = {lead}\n"
            f"    try:\n"
            f'        _varco_key = f"{{_varco_lead}}{parts}"\n'
            # Of an integer that has more digits than Python writes.
            f"    except ValueError:\n"
            f'        _varco_key = f"{{_varco_lead}}{parts.replace("_varco_plain", "()")}"\n'
            f"    if len(_varco_key) <= {LONGEST}:\n"
            f"        return _varco_key\n"
            f"    return _varco_shortened(_varco_lead, _varco_key)"
        )
    exec(source, scope)  # noqa: S102 # the text is made of the parameter names of a live function
    maker: KeyMaker = scope["make"]
    named = plain_function(func)
    maker.__qualname__ = named.__qualname__
    maker.__name__ = named.__name__
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
            scope[f"{_DEFAULT}{index}"] = one.default
            default = f"={_DEFAULT}{index}"
        shown.append(star + one.name + default)
    if last is Parameter.POSITIONAL_ONLY:
        shown.append("/")
    return shown


_DEFAULT = "_varco_default"
_STARS: dict[object, str] = {Parameter.VAR_POSITIONAL: "*", Parameter.VAR_KEYWORD: "**"}


def _part(one: Parameter, default: str) -> str:
    name = one.name
    text = f"_varco_canonical('{name}', {name})"
    if one.kind in {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}:
        return f"{{{text}}}"
    plain = f"{name} if _varco_type({name}) in _varco_plain else {text}"
    if one.default is not Parameter.empty and not _has_text(one.default):
        # A sentinel, which has no text but is the same in every call that leaves it out.
        return f"{{'=' if {name} is {default} else repr({plain})}}"
    return f"{{{plain}!r}}"


def _has_text(value: object) -> bool:
    try:
        canonical("", value)
    except CacheKeyError:
        return False
    return True


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
