"""What all engines can hold, so that a model means the same on each of them."""

from typing import Final

INT_LIMIT: Final = 2**63
"""Ints are at least its negative, and less."""
KEY_LENGTH: Final = 255
"""Of text and bytes in a key or an index that name no length of their own: what MariaDB takes."""
DIGITS: Final = 65
PLACES: Final = 30
"""Of a decimal that names no scale, in all and after the point: what MariaDB's DECIMAL holds."""
JSON_DEPTH: Final = 31
"""Of lists and objects in each other: what MariaDB takes for JSON."""
JSON_INT_BITS: Final = 14_000
"""Of an int in JSON: Python writes no more than 4,300 digits."""


def check_int(number: int) -> None:
    """Refuse an int that 64 bits do not hold.

    Raises:
        ValueError: It is one.
    """
    if not -INT_LIMIT <= number < INT_LIMIT:
        raise ValueError("an int of 64 bits is needed, this one is larger")


def check_text(text: str) -> None:
    """Refuse text that not all engines can hold.

    Raises:
        ValueError: There is a NUL in it, or half of a surrogate pair; says which.
    """
    if "\0" in text:
        raise ValueError("text holds no NUL")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("text holds no half of a surrogate pair") from None
