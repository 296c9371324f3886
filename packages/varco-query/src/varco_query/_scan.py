"""From text to tokens: one `Scan` reads one filter."""

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, Final, NamedTuple, cast

from varco_query._errors import QueryError, QueryLimitError, QuerySyntaxError
from varco_query._limits import Limits
from varco_query._literals import EscapeError, read_scalar, unescape
from varco_query._node import ComparisonNode, TransformerNode
from varco_query._operation import RELATIONS as _RELATIONS
from varco_query._operation import Operation

type MakeLeaf = Callable[[str, Operation, object], ComparisonNode]

RELATIONS: Final = {**_RELATIONS, "==": Operation.EQUAL}
UNKNOWN: Final = "UNKNOWN"
VALUE_TERMINALS: Final = [
    "STRING",
    "UUID",
    "DATETIME",
    "DATE",
    "TIME",
    "DURATION",
    "FLOAT",
    "DECIMAL",
    "INTEGER",
    "TRUE",
    "FALSE",
    "NULL",
]


class Token:
    """What lark reads of a token. A scan has one and changes it: lark keeps only the value."""

    __slots__ = ("end", "start", "type", "value")
    # lark copies these to its end token.
    line = column = start_pos = end_line = end_column = end_pos = None

    def __init__(self) -> None:
        self.type = ""
        self.value: Any = None
        self.start = 0
        self.end = 0


class _Mode(NamedTuple):
    """Which terminals may come, and which mode each leads to."""

    pattern: re.Pattern[str]
    following: Mapping[str, str]
    otherwise: str


class Patterns:
    """The grammar's terminals as regular expressions. Immutable, shared by all scans."""

    def __init__(self, terminals: Mapping[str, str]) -> None:
        def mode(names: str, otherwise: str, **following: str) -> _Mode:
            groups = "|".join(f"(?P<{name}>{terminals[name]})" for name in names.split())
            return _Mode(re.compile(rf"\s*+(?:{groups})"), following, otherwise)

        values = " ".join(VALUE_TERMINALS)
        self.modes: Final = {
            "operand": mode(
                "AND OR NOT ALL ANY LPAR RPAR COMMA FIELD", "operand", FIELD="operator"
            ),
            "operator": mode(
                "RELATION TEXT_WORD IN BETWEEN IS NOT NULL",
                "operator",
                RELATION="value",
                TEXT_WORD="value",
                IN="list",
                BETWEEN="low",
                NULL="operand",
            ),
            "value": mode(values, "operand"),
            "low": mode(values, "between"),
            "between": mode("AND", "value"),
            "list": mode(f"{values} COMMA RPAR", "list", RPAR="operand"),
        }
        # Most values are decoded by the group they match; the last group takes the others.
        others = "|".join(terminals[name] for name in VALUE_TERMINALS if name != "INTEGER")
        value = (
            rf"\s*+(?:({terminals['INTEGER']})"
            rf"|'([^'\\\n\r\t]*+)'|\"([^\"\\\n\r\t]*+)\"|({others}))"
        )
        # What stands between comparisons, AND and OR only where a parenthesis follows; or a
        # comparison with the word before it.
        self.step: Final = re.compile(
            rf"\s*+(?:([()])|((?i:not))(?!\w)|((?i:and|or))(?=\s*\()"
            rf"|(?:((?i:and|or))(?!\w)\s*+)?+((?>{terminals['FIELD']}))"
            rf"\s*+(?:({terminals['RELATION']}){value}"
            rf"|({terminals['TEXT_WORD']})\s*+({terminals['STRING']})"
            rf"|((?i:is\s+null))(?!\w)|((?i:is\s+not\s+null))(?!\w)))"
        ).match
        self.item: Final = re.compile(rf"{value}\s*+,").match


class Scan:
    """One reading of one text. Used by one thread.

    Args:
        text: The filter.
        make: Makes the comparison of a field, operation and value, or refuses it.
        limits: What the text is held to.
        patterns: The grammar's terminals.
        fuse: Whether to read runs of simple comparisons at once. Without it, errors are exact.
    """

    def __init__(
        self, text: str, make: MakeLeaf, limits: Limits, patterns: Patterns, *, fuse: bool = True
    ) -> None:
        self.text = text
        self.make = make
        self.limits = limits
        self.patterns = patterns
        self.token = Token()
        self._fuse = fuse
        self._end = len(text.rstrip())
        self._terms = 0
        self._depth = 0
        # The number of NOTs before what comes next, and before each parenthesis that is open.
        self._nots = 0
        self._open: list[int] = []

    def leaf(self, field: str, op: Operation, value: object, start: int) -> ComparisonNode:
        """The comparison that begins at an offset."""
        if value.__class__ is list and len(cast("list[object]", value)) > self.limits.max_items:
            raise QueryLimitError("max_items", self.limits.max_items).at(self.text, start)
        try:
            return self.make(field, op, value)
        except QueryError as error:
            raise error.at(self.text, start) from None

    def tokens(self) -> Iterator[Token]:
        """The tokens of the text, each the same object."""
        return self._fused() if self._fuse else self._one_by_one()

    def _one_by_one(self) -> Iterator[Token]:
        position = 0
        while position < self._end:
            position = yield from self._comparison(position)

    def _fused(self) -> Iterator[Token]:
        text, token, simple = self.text, self.token, self._simple
        match_at = self.patterns.step
        position = 0
        match = match_at(text, 0)
        while True:
            group = 0 if match is None else match.lastindex or 0
            if match is None:
                if position >= self._end:
                    return
                position = yield from self._comparison(position)
            elif group <= _WORD_ALONE:
                token.type = kind = _BETWEEN[match[group].lower()]
                if kind not in _WORDS:
                    self._count_depth(kind, match.start(group))
                position = match.end(group)
                yield token
            elif match[_WORD] is None:
                token.type, token.value = "COMPARISON", simple(match)
                position = match.end()
                yield token
            else:
                word = match[_WORD].lower()
                run: list[TransformerNode] = []
                while match is not None and (match[_WORD] or "").lower() == word:
                    run.append(simple(match))
                    position = match.end()
                    match = match_at(text, position)
                if word == "and":
                    token.type, token.value = "AND_COMPARISONS", run
                else:
                    last = run.pop()
                    if run:
                        token.type, token.value = "OR_COMPARISONS", run
                        yield token
                    token.type, token.value = "OR_COMPARISON", last
                yield token
                continue
            match = match_at(text, position)

    def _simple(self, match: re.Match[str]) -> ComparisonNode:
        """The comparison that `Patterns.step` matched."""
        self._terms += 1
        if self._terms > self.limits.max_terms:
            raise self._too_many_terms(match.start(_FIELD))
        if self._nots:
            self._depth -= self._nots
            self._nots = 0
        field, relation = match.group(_FIELD, _RELATION)
        op: Operation
        value: object
        if relation is None:
            op, value = self._word_comparison(match)
        else:
            op, value = RELATIONS[relation], self._decode(match, _RELATION)
        try:
            return self.make(field.strip("`"), op, value)
        except QueryError as error:
            raise error.at(self.text, match.start(_FIELD)) from None

    def _read_items(self, position: int) -> tuple[list[Any], int]:
        """The values from a place that a comma follows, and the end."""
        items: list[Any] = []
        match_at, decode = self.patterns.item, self._decode
        most = self.limits.max_items
        match = match_at(self.text, position)
        while match is not None:
            items.append(decode(match, 0))
            if len(items) > most:
                raise QueryLimitError("max_items", most).at(self.text, position)
            position = match.end()
            match = match_at(self.text, position)
        return items, position

    def _decode(self, match: re.Match[str], before: int) -> object:
        """The value that a match ends in; its groups begin after those before."""
        group = match.lastindex or 0
        found = match[group]
        if group == before + 1:
            if len(found) > self.limits.max_digits:
                raise self._too_many_digits(match.start(group))
            return int(found)
        if group == before + 4:
            return self._literal(found, match.start(group))
        return found

    def _comparison(self, position: int) -> Generator[Token, None, int]:
        """One token between comparisons, or all tokens of a comparison; then its end."""
        text, token = self.text, self.token
        modes = self.patterns.modes
        mode = modes["operand"]
        while True:
            match = mode.pattern.match(text, position)
            if match is None:
                yield self._unknown(position)
                raise AssertionError("the parser accepted a token that no rule mentions")
            kind = match.lastgroup or ""
            token.type = kind
            token.start = match.start(kind)
            if kind == "FIELD":
                token.value = (self.leaf, match[kind].strip("`"), token.start)
                self._count_term(token.start)
            elif kind in _SCALARS:
                token.value = self._value(kind, match[kind], token.start)
            else:
                token.value = match[kind]
                if mode.otherwise == "operand":
                    self._count_depth(kind, token.start)
            token.end = position = match.end()
            yield token
            if kind == "IN" and self._fuse:
                token.value, position = self._read_items(position)
                if token.value:
                    token.type = "ITEMS"
                    yield token
            following = mode.following.get(kind, mode.otherwise)
            if following == "operand" or position >= self._end:
                return position
            mode = modes[following]

    def _count_term(self, start: int) -> None:
        self._terms += 1
        if self._terms > self.limits.max_terms:
            raise self._too_many_terms(start)
        self._depth -= self._nots
        self._nots = 0

    def _count_depth(self, kind: str, start: int) -> None:
        if kind == "NOT":
            self._nots += 1
            self._depth += 1
        elif kind in _OPENING:
            self._open.append(self._nots)
            self._nots = 0
            self._depth += 1
        elif kind == "RPAR" and self._open:
            self._depth -= 1 + self._open.pop()
        if self._depth > self.limits.max_depth:
            raise QueryLimitError("max_depth", self.limits.max_depth).at(self.text, start)

    def _word_comparison(self, match: re.Match[str]) -> tuple[Operation, object]:
        """The operation and value of a comparison with LIKE and its kin or IS."""
        group = match.lastindex
        if group == _IS_NULL:
            return Operation.IS_NULL, None
        if group == _IS_NOT_NULL:
            return Operation.IS_NOT_NULL, None
        word, quoted = match.group(_TEXT_WORD, _TEXT)
        return Operation(word.upper()), self._value("STRING", quoted, match.start(_TEXT))

    def _literal(self, text: str, start: int) -> object:
        match = self.patterns.modes["value"].pattern.match(text)
        return None if match is None else self._value(match.lastgroup or "", text, start)

    def _value(self, kind: str, text: str, start: int) -> object:
        if kind == "NULL":
            return None
        if kind in _NUMBERS and len(text) > self.limits.max_digits:
            raise self._too_many_digits(start)
        try:
            return unescape(text[1:-1]) if kind == "STRING" else read_scalar(kind, text)
        except EscapeError as error:
            raise QuerySyntaxError(
                f"{error.escape} in quotes is no character",
                expected=("\\n", "\\r", "\\t", "\\\\", "\\'", '\\"', "\\%", "\\_", "\\uXXXX"),
                found=error.escape,
            ).at(self.text, start + 1 + error.offset) from None
        except QueryError as error:
            raise error.at(self.text, start) from None

    def _too_many_terms(self, start: int) -> QueryLimitError:
        return QueryLimitError("max_terms", self.limits.max_terms).at(self.text, start)

    def _too_many_digits(self, start: int) -> QueryLimitError:
        return QueryLimitError("max_digits", self.limits.max_digits).at(self.text, start)

    def _unknown(self, position: int) -> Token:
        """A token that no rule takes, so that the parser says what it would have taken."""
        match = _ANYTHING.match(self.text, position)
        token = self.token
        token.type, token.value, token.start, token.end = UNKNOWN, "", self._end, self._end
        if match is not None:
            token.value, token.start, token.end = match[1], match.start(1), match.end()
            closed = _CLOSED.match(self.text, token.start)
            if closed is not None:
                token.value, token.end = closed[0], closed.end()
            elif token.value in _QUOTES:
                raise QuerySyntaxError(
                    f"the text that begins here is not closed by another {token.value}",
                    expected=(f"a closing {token.value}",),
                ).at(self.text, token.start)
        return token


# Groups of `Patterns.step`: 7 to 10 are those of a value.
_WORD_ALONE, _WORD, _FIELD, _RELATION = 3, 4, 5, 6
_TEXT_WORD, _TEXT, _IS_NULL, _IS_NOT_NULL = 11, 12, 13, 14
_WORDS: Final = frozenset({"AND", "OR"})
_SCALARS: Final = frozenset(VALUE_TERMINALS)
_NUMBERS: Final = frozenset({"INTEGER", "DECIMAL", "FLOAT"})
_OPENING: Final = frozenset({"LPAR", "ALL", "ANY"})
_BETWEEN: Final = {"(": "LPAR", ")": "RPAR", "not": "NOT", "and": "AND", "or": "OR"}
_QUOTES: Final = frozenset("'\"")
_CLOSED: Final = re.compile(
    r"""'[^'\\]*+(?:\\.[^'\\]*+)*+'|"[^"\\]*+(?:\\.[^"\\]*+)*+["]""", re.DOTALL
)
_ANYTHING: Final = re.compile(r"\s*+([\w.:+-]+|.)", re.DOTALL)
