"""The text of AND and OR, written without recursion, and of comparisons by code point.

SQLAlchemy nests a Python call, and engines a level of their parser, in every level of a condition.
Here its comparisons stand in one list, with the text between them.
"""

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import Grouping
from sqlalchemy.sql.visitors import InternalTraversal

from varco_sa._dialects import dialect_of
from varco_sa._types import Text

# SQLite's expressions nest 1,000 levels, of which a chain of AND takes one for each term.
_CHAIN: Final = 16


class Condition(sa.ColumnElement[bool]):
    """Comparisons, and the text before, between and behind them."""

    __visit_name__ = "varco_condition"
    inherit_cache = True
    type = sa.Boolean()
    _traverse_internals = [  # noqa: RUF012  # SQLAlchemy's
        ("word", InternalTraversal.dp_string),
        ("texts", InternalTraversal.dp_plain_obj),
        ("comparisons", InternalTraversal.dp_clauseelement_list),
    ]

    def __init__(self, word: str, texts: tuple[str, ...], comparisons: list[Any]) -> None:
        self.word = word
        self.texts = texts
        self.comparisons = comparisons

    def self_group(self, against: Any = None) -> Any:
        """In parentheses beside anything else, unless it is an AND."""
        return self if against is None or self.word == "and" else Grouping(self)


@compiles(Condition)
def _compile(element: Condition, compiler: Any, **options: Any) -> str:
    first, *rest = element.texts
    out = [first]
    for comparison, text in zip(element.comparisons, rest, strict=True):
        out += (compiler.process(comparison, **options), text)
    return "".join(out)


class CodePoints(sa.ColumnElement[str]):
    """Text of any collation, compared by code point."""

    __visit_name__ = "varco_code_points"
    inherit_cache = True
    _traverse_internals = [("text", InternalTraversal.dp_clauseelement)]  # noqa: RUF012  # SQLAlchemy's

    def __init__(self, text: sa.ColumnElement[Any]) -> None:
        self.text = text
        self.type = Text()


@compiles(CodePoints)
def _compile_code_points(element: CodePoints, compiler: Any, **options: Any) -> str:
    # Which MySQL it is shows only when it is connected.
    collation = dialect_of(compiler.dialect).collation
    return f"({compiler.process(element.text, **options)}) COLLATE {collation}"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a condition: comparisons and text in their order, and what joins them."""

    word: str
    pieces: list[Any]

    def within(self, word: str) -> list[Any]:
        """The pieces as they stand in another part: AND binds tighter than OR."""
        if self.word == "or" and word == "and":
            return ["(", *self.pieces, ")"]
        return self.pieces

    def element(self) -> sa.ColumnElement[bool]:
        """The expression of the whole."""
        if len(self.pieces) == 1:
            only: sa.ColumnElement[bool] = self.pieces[0]
            return only
        texts = [""]
        comparisons: list[Any] = []
        for piece in self.pieces:
            if isinstance(piece, str):
                texts[-1] += piece
            else:
                comparisons.append(piece)
                texts.append("")
        return Condition(self.word, tuple(texts), comparisons)


def leaf(comparison: sa.ColumnElement[bool]) -> Part:
    """A comparison."""
    return Part("", [comparison])


def joined(word: str, parts: list[Part]) -> Part:
    """The parts in AND or OR; without parts, true or false.

    The first one nests deepest, and stays outside of the groups that a long chain is cut into.
    """
    if not parts:
        return leaf(sa.true() if word == "and" else sa.false())
    between = f" {word.upper()} "
    first, *rest = [part.within(word) for part in parts]
    while len(rest) > _CHAIN:
        rest = [
            ["(", *_with(between, rest[start : start + _CHAIN]), ")"]
            for start in range(0, len(rest), _CHAIN)
        ]
    return Part(word if len(parts) > 1 else parts[0].word, _with(between, [first, *rest]))


def _with(between: str, parts: list[list[Any]]) -> list[Any]:
    pieces = list(parts[0])
    for part in parts[1:]:
        pieces.append(between)
        pieces += part
    return pieces
