"""What is wrong with a text that is no filter."""

import re
from typing import Final

from varco_query._errors import QuerySyntaxError, close_match, join_words, shorten
from varco_query._operation import OPERATORS, Takes
from varco_query._table import FOLLOWING, LAST, RULES, STATES, TERMINALS, VALUES

_END: Final = "the end of the filter"
_VALUE: Final = "a value"


def _words_of(*kinds: Takes) -> tuple[str, ...]:
    return tuple(each.words for each in OPERATORS.values() if each.takes in kinds)


_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "FIELD": ("a field",),
    "INTEGER": (_VALUE,),
    "STRING": ("text in quotes",),
    "LPAR": ("(",),
    "NOT": ("NOT",),
    "ALL": ("ALL(",),
    "ANY": ("ANY(",),
    "RELATION": _words_of(Takes.VALUE),
    "TEXT_WORD": _words_of(Takes.TEXT, Takes.PATTERN),
    "IN": ("IN (",),
    "BETWEEN": ("BETWEEN",),
    "IS": ("IS",),
    "NULL": ("NULL",),
    "AND": ("AND",),
    "OR": ("OR",),
    "COMMA": (",",),
    "RPAR": (")",),
    "": (_END,),
}
_COMPLETE_IN: Final = tuple(None if rule is None else RULES[rule][2] for *_, rule in STATES)
_OPERANDS: Final = frozenset({"comparison", "operand", "conjunction", "disjunction"})
_QUOTES: Final = frozenset("'\"")


def check_characters(text: str) -> None:
    """Refuse what no database stores."""
    offset = text.find("\0")
    if offset < 0 and not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            offset = error.start
    if offset >= 0:
        found = repr(text[offset])
        raise QuerySyntaxError(f"{found} is no character of a filter", found=found).at(text, offset)


def syntax_error(text: str, position: int, state: int, states: list[int]) -> QuerySyntaxError:
    """The error of what comes at a position.

    Args:
        text: The filter.
        position: Where the last token that could stand there ends.
        state: That of the parser then.
        states: Those to which it has come since, without finding what could be meant.
    """
    accepted = _accepted(states)
    if _COMPLETE_IN[state] in _OPERANDS:
        accepted |= {"AND", "OR"}
    expected = tuple(word for name, words in _WORDS.items() if name in accepted for word in words)
    match = re.compile(rf"\s*+({TERMINALS['STRING']}|[\w.:+-]+|.)", re.DOTALL).match(text, position)
    start = len(text.rstrip()) if match is None else match.start(1)
    found = "" if match is None else match[1]
    hint = _hint(text, start, found, expected)
    if found in _QUOTES:
        return QuerySyntaxError(
            f"the text that begins here is not closed by another {found}{hint}",
            expected=(f"a closing {found}",),
        ).at(text, start)
    shown = shorten(found) if found else _END
    return QuerySyntaxError(
        f"expected {join_words(expected)}, found {shown}{hint}", expected=expected, found=shown
    ).at(text, start)


def _accepted(states: list[int]) -> set[str]:
    """The terminals that could come; "" for the end."""
    states = list(states)
    accepted: set[str] = set()
    while True:
        _, shifts, rule = STATES[states[-1]]
        accepted.update(shifts)
        if rule is None:
            break
        _, size, of = RULES[rule]
        del states[-size:]
        states.append(FOLLOWING[of][states[-1]])
    if states[-1] == LAST:
        accepted.add("")
    if "STRING" in accepted:
        # Parentheses around a value are nothing that somebody looks for.
        accepted.remove("LPAR")
    if "INTEGER" in accepted:
        accepted = accepted.difference(VALUES) | {"INTEGER"}
    return accepted


def _hint(text: str, start: int, found: str, expected: tuple[str, ...]) -> str:
    before = text[start - 1 : start]
    if before in _QUOTES and (found[:1] in _QUOTES or found[:1].isalnum()):
        return f"; inside {before} quotes a {before} is written \\{before}"
    if found == ")" and text[:start].rstrip().endswith(","):
        return "; no comma may stand after the last of a list"
    if _VALUE in expected and found[:1].isalpha():
        return "; text needs quotes"
    words = [word.strip("( ") for word in expected if word[:1].isupper()]
    meant = close_match(found, words) if found else None
    return f"; did you mean {meant}?" if meant and meant != found.upper() else ""
