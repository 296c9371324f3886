"""Letter case, the same in Python and in every engine."""

from typing import Final

CASE_EXCEPTIONS: Final = {"\u03a3": "\u03c3", "\u0130": "i"}
"""The characters whose lower case depends on what is around them, or is two characters."""

_TABLE: Final = str.maketrans(CASE_EXCEPTIONS)


def fold_case(text: str) -> str:
    """The text for comparison without regard to case: each character in lower case by itself."""
    return text.lower() if text.isascii() else text.translate(_TABLE).lower()
