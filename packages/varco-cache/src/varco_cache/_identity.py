"""Who is who: names of functions, classes and instances that nothing else has.

What something is called, or is equal to, does not tell it from its likes: two functions that one
`def` made share their name, two instances may be equal. The object itself does.
"""

from __future__ import annotations

import builtins
import inspect
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import ref

from varco_cache._errors import CacheKeyError

if TYPE_CHECKING:
    from types import CodeType


class _Names:
    """A text for each object, by what it is and not by what it equals, for as long as it lives.

    State is protected by never awaiting between looking and entering.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[int, tuple[ref[Any], str]] = {}

    def get(self, one: object) -> str | None:
        known = self._known.get(id(one))
        return known[1] if known is not None and known[0]() is one else None

    def enter(self, one: object, name: str) -> str:
        """Remember the text; TypeError when the object cannot be referred to weakly."""
        place, names = id(one), self._known

        def forget(gone: ref[Any]) -> None:
            held = names.get(place)
            if held is not None and held[0] is gone:
                del names[place]

        names[place] = (ref(one, forget), name)
        return name


_tokens = _Names()
_classes = _Names()
# Who was first to have a name; one that it had is never given to another.
_firsts: dict[str, ref[Any]] = {}
_codes: dict[str, CodeType | None] = {}


def qualified(one: Any) -> str:
    """The name of a class or a function, with its module."""
    return f"{one.__module__}.{one.__qualname__}"


def class_of(one: object) -> Any:
    """Its class, whatever its `__class__` says."""
    return type(one)


def token(one: object) -> str:
    """A text that stands for this very object and that no other process repeats.

    Raises:
        TypeError: The object cannot be referred to weakly.
    """
    return _tokens.get(one) or _tokens.enter(one, os.urandom(16).hex())


def class_name(kind: type) -> str:
    """What tells a class from all others: its name if it is found under it, else one of its own."""
    known = _classes.get(kind)
    if known is not None:
        return known
    name = qualified(kind)
    if vars(builtins).get(kind.__qualname__) is kind:
        name = kind.__qualname__
    elif not (_is_found(kind) and _is_first(name, kind)):
        name = f"{name}@{token(kind)}"
    return _classes.enter(kind, name)


def function_name(func: Any) -> tuple[str, str | None]:
    """What tells a function from all others, and what does so in every process, if anything."""
    inner = plain_function(func)
    name = qualified(inner)
    its_own = inner is func and getattr(func, "__self__", None) is None
    if its_own and "<locals>" not in name:
        if _is_first(name, func):
            _codes.setdefault(name, _code(func))
            return name, name
        if _is_defined_again(name, func):
            return f"{name}@{token(func)}", name
    return f"{name}@{token(func)}", None


def _is_defined_again(name: str, func: Any) -> bool:
    """Whether its module was run again, rather than that two live functions share a name."""
    first, code = _firsts[name](), _code(func)
    if code is None or code is _codes.get(name):
        return False  # one `def` made both
    if first is None or inspect.unwrap(first).__globals__ is not inspect.unwrap(func).__globals__:
        return True
    was = _code(first)
    return was is not None and (was.co_filename, was.co_firstlineno) == (
        code.co_filename,
        code.co_firstlineno,
    )


def _code(func: Any) -> CodeType | None:
    return getattr(inspect.unwrap(func), "__code__", None)


def plain_function(func: Any) -> Any:
    """The function beneath partial applications."""
    while isinstance(func, partial):
        func = func.func  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] # of any
    return func


def owner_key(owner: Any) -> str:
    """What tells the owner of a method from other owners.

    A class its name, an instance its class and `__cache_key__`, or else an identity that no other
    process repeats.
    """
    kind = class_of(owner)
    if isinstance(owner, type):
        return f"{class_name(owner)}|"
    own = getattr(kind, "__cache_key__", None)
    if own is not None:
        return f"{class_name(kind)}<{given_key(own(owner), 'self', owner)!r}>|"
    try:
        return f"{token(owner)}|"
    except TypeError:
        raise CacheKeyError("self", owner, _GIVE_OWN) from None


def shared_owner_key(owner: Any) -> str:
    """Likewise in a cache that processes share, where an instance must say who it is.

    Raises:
        CacheKeyError: It has no `__cache_key__`.
    """
    kind = class_of(owner)
    if isinstance(owner, type) or hasattr(kind, "__cache_key__"):
        return owner_key(owner)
    raise CacheKeyError("self", owner, f"{_GIVE_OWN} in every process that shares the cache")


_GIVE_OWN = "pass key=, or give its class a __cache_key__() -> str that tells its instances apart"


def given_key(key: object, what: str, value: object) -> str:
    """What a `__cache_key__` or `key=` returned, when it is a text.

    Raises:
        CacheKeyError: It is none.
    """
    if isinstance(key, str):
        return str.__str__(key)
    raise CacheKeyError(what, value, f"its key must be a str, not {type(key).__qualname__!r}")


def _is_found(kind: type) -> bool:
    """Whether its module has the class under its name."""
    found: Any = sys.modules.get(kind.__module__)
    for name in kind.__qualname__.split("."):
        found = getattr(found, "__dict__", {}).get(name)
    return found is kind


def _is_first(name: str, one: object) -> bool:
    return _firsts.setdefault(name, ref(one))() is one
