"""LIKE patterns: their tokens, and what matches them."""

import re
from collections.abc import Callable
from enum import Enum
from functools import cache
from typing import Final, NamedTuple

from varco_query._fold import fold_case


class Wildcard(Enum):
    """What a pattern holds beside characters."""

    ANY = "any text"
    ONE = "one character"


ANY: Final = Wildcard.ANY
ONE: Final = Wildcard.ONE

type Token = str | Wildcard
"""A part of a pattern: one character, or a wildcard."""
type Tokens = list[Token]


class Pattern(NamedTuple):
    """What the text of a field has to match as a whole.

    Attributes:
        tokens: Wildcards and single characters, folded when `folds`.
        folds: Whether the field's text is folded by `fold_case` before it is compared.
    """

    tokens: Tokens
    folds: bool

    def regex(self) -> str:
        """A regular expression of Python and PCRE that matches the same, without any option.

        Linear in the text for every pattern, where atomic groups are known. It is anchored at both
        ends, and knows letter case by itself: an engine's own idea of it differs.
        """
        # PCRE's \Z is also before a newline at the end.
        return rf"\A(?s:{self._expression(_any_case if self.folds else re.escape)}(?!.))"

    def matcher(self) -> Callable[[str], bool]:
        """A test of text."""
        test = _of_part(self.tokens) or self._of_expression()
        if not self.folds:
            return test
        return lambda text: test(fold_case(text))

    def _of_expression(self) -> Callable[[str], bool]:
        matches = re.compile(self._expression(re.escape), re.DOTALL).fullmatch
        return lambda text: matches(text) is not None

    def _expression(self, literal: Callable[[str], str]) -> str:
        parts: list[list[str]] = [[]]
        for token in self.tokens:
            if token is ANY:
                parts.append([])
            else:
                parts[-1].append("." if token is ONE else literal(str(token)))
        first, *rest = ("".join(part) for part in parts)
        if not rest:
            return first
        # The leftmost place of every middle part is as good as any other: no way back into it.
        middle = "".join(f"(?>.*?{part})" for part in rest[:-1] if part)
        return f"{first}{middle}.*{rest[-1]}"


def _of_part(tokens: Tokens) -> Callable[[str], bool] | None:
    """A test that needs no expression, where wildcards stand at the ends only."""
    starts, ends = tokens[:1] == [ANY], tokens[-1:] == [ANY]
    inner = tokens[starts : len(tokens) - ends]
    if any(isinstance(each, Wildcard) for each in inner):
        return None
    part = "".join(map(str, inner))
    if starts:
        return (lambda text: part in text) if ends else (lambda text: text.endswith(part))
    return (lambda text: text.startswith(part)) if ends else (lambda text: text == part)


def like(pattern: str) -> Tokens:
    """Of a pattern: `%` is any text, `_` one character, and a backslash escapes."""
    found: Tokens = []
    characters = iter(pattern)
    for character in characters:
        if character == "\\":
            found.append(next(characters, "\\"))
        elif character == "%":
            if not found or found[-1] is not ANY:
                found.append(ANY)
        else:
            found.append(ONE if character == "_" else character)
    return found


def around(part: str) -> Tokens:
    """Of text that holds the part."""
    return [ANY, *part, ANY]


def behind(part: str) -> Tokens:
    """Of text that begins with the part."""
    return [*part, ANY]


def before(part: str) -> Tokens:
    """Of text that ends with the part."""
    return [ANY, *part]


def escape_like(text: str) -> str:
    """A pattern that matches the text and nothing else."""
    return re.sub(r"([\\%_])", r"\\\1", text)


def _any_case(folded: str) -> str:
    found = _unfolded().get(folded, "") + folded
    return re.escape(found) if len(found) == 1 else f"[{''.join(map(re.escape, found))}]"


@cache
def _unfolded() -> dict[str, str]:
    """Each folded character, with the others that fold to it."""
    found: dict[str, str] = {}
    for number in range(0x20000):  # beyond, no character has a case
        character = chr(number)
        folded = fold_case(character)
        if folded != character:
            found[folded] = found.get(folded, "") + character
    return found
