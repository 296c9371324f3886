"""Module attributes that are imported when they are first touched (PEP 562)."""

from __future__ import annotations

import importlib
import sys

# Not from typing, nor collections.abc at run time: they cost more than this package.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def attach(
    module: str, sources: Mapping[str, Iterable[str]]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Make the `__getattr__` and `__dir__` of `module`.

    Args:
        module: the name of the module that gets them.
        sources: for each module to import from, the names that come from it.

    Importing a module is guarded by the import system's own lock, and storing the name is one
    assignment, so that threads may race here: they store the same object.
    """
    home = {name: source for source, names in sources.items() for name in names}

    def __getattr__(name: str) -> object:  # noqa: N807 - this is the hook PEP 562 names
        source = home.get(name)
        if source is None:
            from varco_core._moved import ANSWERS, RENAMED, moved  # noqa: PLC0415 - seldom asked

            if name in RENAMED or name in ANSWERS:
                return moved(module, name)
            raise AttributeError(_unknown(module, name, home), name=name)
        value: object = getattr(importlib.import_module(source), name)
        setattr(sys.modules[module], name, value)
        return value

    def __dir__() -> list[str]:  # noqa: N807 - this is the hook PEP 562 names
        return sorted({*vars(sys.modules[module]), *home})

    return __getattr__, __dir__


def _unknown(module: str, name: str, known: Iterable[str]) -> str:
    import difflib  # noqa: PLC0415 - costs more than the whole package and is rarely needed

    message = f"module {module!r} has no attribute {name!r}"
    # A check such as hasattr(module, "__path__") is no misspelling.
    close = [] if name.startswith("__") else difflib.get_close_matches(name, known, n=1)
    return f"{message}. Did you mean {close[0]!r}?" if close else message
