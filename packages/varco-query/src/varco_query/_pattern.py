"""LIKE patterns."""

import re
from collections.abc import Callable

from varco_query._compare import fold

ANY = object()
ONE = object()


def tokens(pattern: str) -> list[object]:
    """The pattern as `ANY` (`%`), `ONE` (`_`) and literal characters."""
    found: list[object] = []
    characters = iter(pattern)
    for character in characters:
        if character == "\\":
            found.append(next(characters, "\\"))
        elif character == "%":
            found.append(ANY)
        elif character == "_":
            found.append(ONE)
        else:
            found.append(character)
    return found


def escape_like(text: str) -> str:
    """A pattern that matches the text and nothing else."""
    return re.sub(r"([\\%_])", r"\\\1", text)


def like(pattern: str, *, ignore_case: bool = False) -> Callable[[str], bool]:
    """A test whether text matches the pattern, in time linear in the text for every pattern."""
    parts: list[list[str]] = [[]]
    for token in tokens(fold(pattern) if ignore_case else pattern):
        if token is ANY:
            parts.append([])
        else:
            parts[-1].append("." if token is ONE else re.escape(str(token)))
    first, *rest = ("".join(part) for part in parts)
    if not rest:
        expression = first
    else:
        # The leftmost place of every middle part is as good as any other: no way back into it.
        middle = "".join(f"(?>.*?{part})" for part in rest[:-1] if part)
        expression = f"{first}{middle}.*{rest[-1]}"
    matches = re.compile(expression, re.DOTALL).fullmatch
    if ignore_case:
        return lambda text: matches(fold(text)) is not None
    return lambda text: matches(text) is not None
