"""LIKE patterns in the words of the engines."""

from typing import Final

from varco_query import Operation

ANY: Final = object()
ONE: Final = object()


def tokens(op: Operation, text: str) -> list[object]:
    """What a pattern or a part of text matches: ``ANY`` text, ``ONE`` character, or itself."""
    match op:
        case Operation.CONTAINS:
            return [ANY, *text, ANY]
        case Operation.STARTSWITH:
            return [*text, ANY]
        case Operation.ENDSWITH:
            return [ANY, *text]
        case _:
            return _like(text)


def _like(pattern: str) -> list[object]:
    found: list[object] = []
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


def like_pattern(parts: list[object]) -> str:
    """For LIKE, with a backslash as the escape."""
    return "".join(
        "%" if part is ANY else "_" if part is ONE else _escaped(str(part)) for part in parts
    )


def _escaped(character: str) -> str:
    return f"\\{character}" if character in "%_\\" else character


def glob_pattern(parts: list[object]) -> str:
    """For SQLite's GLOB, which tells letters apart by case."""
    return "".join(
        "*" if part is ANY else "?" if part is ONE else _bracketed(str(part)) for part in parts
    )


def _bracketed(character: str) -> str:
    return f"[{character}]" if character in "*?[" else character
