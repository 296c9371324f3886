"""Letter case, the same in Python and in every engine."""

from typing import Final

# The two characters whose lower case depends on what is around them, or is two characters.
SPECIAL: Final = "\u03a3\u0130"
PLAIN: Final = "\u03c3i"
_TABLE: Final = str.maketrans(SPECIAL, PLAIN)


def fold(text: str) -> str:
    """The text for comparison without regard to case: each character in lower case by itself."""
    return text.lower() if text.isascii() else text.translate(_TABLE).lower()
