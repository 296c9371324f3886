"""The annotations of a class's own body, as each version of Python keeps them."""

from __future__ import annotations

import inspect
import sys
from typing import Any

if sys.version_info >= (3, 14):
    from typing import get_args

    import annotationlib

    def annotations_of(cls: type) -> dict[str, Any]:
        """The annotations of a class; one with a name that is not there yet, as its text (PEP 649).

        Only type checkers may import that name, or a later line of the module defines it.
        """
        try:
            return annotationlib.get_annotations(cls)
        except NameError:
            found = annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
            texts = annotationlib.get_annotations(cls, format=annotationlib.Format.STRING)
            return {name: texts[name] if _is_open(hint) else hint for name, hint in found.items()}

    def _is_open(hint: Any) -> bool:
        return isinstance(hint, annotationlib.ForwardRef) or any(map(_is_open, get_args(hint)))

else:

    def annotations_of(cls: type) -> dict[str, Any]:
        """The annotations of a class; those of a module with the future import as their text."""
        return inspect.get_annotations(cls)
