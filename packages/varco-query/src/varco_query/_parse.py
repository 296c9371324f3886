"""From text to a tree: runs the parse table, in time that grows as the text does."""

import re
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from varco_query._errors import QueryLimitError
from varco_query._limits import Limits
from varco_query._node import TransformerNode
from varco_query._reading import MakeLeaf, Reading, gathered
from varco_query._syntax import check_characters, syntax_error
from varco_query._table import FOLLOWING, LAST, RULES, STATES, TERMINALS, TOGETHER, VALUES

type _Match = re.Match[str]
type _Find = Callable[[str, int], _Match | None]

_PLACES: Final = tuple(place for place, _, _ in STATES)
_SHIFTS: Final = tuple(shifts for _, shifts, _ in STATES)
_COMPLETE: Final = tuple(complete for _, _, complete in STATES)
_RULES: Final = tuple((getattr(Reading, name), size, FOLLOWING[of]) for name, size, of in RULES)
# Where a comparison may begin: the state that follows it.
_BEGINS: Final = FOLLOWING["comparison"]
_VALUES: Final = frozenset(VALUES)


def read(text: str, make: MakeLeaf, limits: Limits) -> TransformerNode:
    """The tree of a filter.

    Raises:
        QueryError: The text is no filter, or one that `make` or the limits refuse.
    """
    if len(text) > limits.max_length:
        raise QueryLimitError("max_length", limits.max_length, len(text))
    check_characters(text)
    reading = Reading(text, make, limits)
    simple_at = _simple()
    end = len(text.rstrip())
    states, values = [0], list[Any]()
    state, position, kind = 0, 0, ""
    while True:
        after = _BEGINS.get(state)
        simple = None if after is None else simple_at(text, position)
        if after is not None and simple is not None:
            simple, match = _rest_of_chain(reading, after, values, simple, kind)
            values.append(reading.comparison(simple))
            states.append(after)
            state, position = after, simple.end()
        elif kind == "COMMA":
            match = _rest_of_list(reading, state, values, position)
        else:
            match = _terminals(_PLACES[state])(text, position)
        if match is None and position < end:
            raise syntax_error(text, position, state, states)
        kind = "" if match is None else match.lastgroup or ""
        shift = _SHIFTS[state].get(kind) or _complete(reading, states, values, kind)
        if match is None or not shift:
            if states[-1] == LAST and match is None:
                return values[0]  # type: ignore[no-any-return]  # of the rule `start`
            raise syntax_error(text, position, state, states)
        values.append(reading.token(match, after is not None))
        states.append(shift)
        state, position = shift, match.end()


def _complete(reading: Reading, states: list[int], values: list[Any], kind: str) -> int:
    """Makes of the last values what they are before a terminal; the state after it, 0 for none."""
    state = states[-1]
    while (shift := _SHIFTS[state].get(kind, 0)) == 0:
        rule = _COMPLETE[state]
        if rule is None:
            return 0
        make, size, following = _RULES[rule]
        values[-size:] = [make(reading, values[-size:])]
        del states[-size:]
        state = following[states[-1]]
        states.append(state)
    return shift


# Two shortcuts: in `a AND b AND` and in `1, 2,` what is complete grows where it is, since the
# parser would come back to the state in which it is.


def _rest_of_chain(
    reading: Reading, state: int, values: list[Any], last: _Match, word: str
) -> tuple[_Match, _Match | None]:
    """The last comparison of a chain that a word joins, and the token after it."""
    text, simple_at, token_at = reading.text, _simple(), _terminals(_PLACES[state])
    token = token_at(text, last.end())
    if token is None or token.lastgroup != word:
        return last, token
    complete = values[-2] = gathered(values[-2])
    comparison = reading.comparison
    # Most chains repeat the word as it was first written, which is quickly seen.
    again = f"{token[0]} "
    position = token.end()
    while (following := simple_at(text, position)) is not None:
        complete.append(comparison(last))
        last = following
        position = last.end()
        if text.startswith(again, position):
            position += len(again)
            continue
        token = token_at(text, position)
        if token is None or token.lastgroup != word:
            return last, token
        position = token.end()
    return last, token_at(text, last.end())


def _rest_of_list(reading: Reading, state: int, values: list[Any], position: int) -> _Match | None:
    """The last value of a list, or whatever else comes."""
    text, token_at, value_of = reading.text, _terminals(_PLACES[state]), reading.value
    complete = values[-2]
    while True:
        token = token_at(text, position)
        if token is None or token.lastgroup not in _VALUES:
            return token
        end = token.end()
        if not text.startswith(",", end):
            return token
        complete.append(value_of(token))
        position = end + 1


def _one_of(names: tuple[str, ...]) -> str:
    return f"(?:{'|'.join(f'(?P<{name}>{TERMINALS[name]})' for name in names)})"


@cache
def _terminals(place: int) -> _Find:
    """Finds a token where one of a set of terminals may stand."""
    return re.compile(rf"\s*+{_one_of(TOGETHER[place])}").match


@cache
def _simple() -> _Find:
    """Finds what the grammar calls a comparison, when it holds one value or none."""
    terminals = {name: rf"(?P<{name}>{pattern})\s*+" for name, pattern in TERMINALS.items()}
    return re.compile(
        rf"\s*+(?>{terminals['FIELD']})(?:"
        rf"(?>{terminals['RELATION']}){_one_of(VALUES)}"
        rf"|{terminals['TEXT_WORD']}(?P<TEXT>{TERMINALS['STRING']})"
        rf"|{terminals['IS']}(?:{terminals['NOT']})?+{TERMINALS['NULL']})"
    ).match
