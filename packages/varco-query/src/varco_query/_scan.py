"""From text to tokens: one `Scan` reads one filter."""

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, Final, NamedTuple, cast

from varco_query._errors import QueryError, QueryLimitError, QuerySyntaxError
from varco_query._limits import Limits
from varco_query._literals import EscapeError, read_scalar, unescape
from varco_query._node import AndNode, ComparisonNode, OrNode, TransformerNode
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
        comparison = re.compile(
            rf"\s*+(?:((?i:and|or))(?!\w)\s*+)?+((?>{terminals['FIELD']}))"
            rf"\s*+(?:({terminals['RELATION']}){value}"
            rf"|({terminals['TEXT_WORD']})\s*+({terminals['STRING']})"
            rf"|((?i:is\s+null))(?!\w)|((?i:is\s+not\s+null))(?!\w))"
        )
        self.comparison: Final = comparison.match
        # What stands between comparisons; AND and OR only where no comparison follows.
        self.between: Final = re.compile(r"\s*+(?i:([()])|(not)(?!\w)|(and|or)(?=\s*\())").match
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
        # What `flat` has read: the tokens begin with it and go on from there.
        self._runs: list[tuple[str | None, list[TransformerNode]]] = []
        self._position = 0

    def flat(self) -> TransformerNode | None:
        """The whole filter, when it is comparisons joined by one word and needs no parser."""
        first: list[TransformerNode] = []
        others: list[TransformerNode] = []
        word, position = self._read_run(0, first)
        next_word, position = self._read_run(position, others)
        if word is None and position >= self._end and bool(others) is (next_word is not None):
            if not others:
                return first[0] if first else None
            return (AndNode if next_word == "and" else OrNode)(*first, *others)
        self._runs = [(word, first), (next_word, others)]
        self._position = position
        return None

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
        for known in self._runs:
            if known[1]:
                yield from self._run_tokens(*known)
        position = self._position
        token, between = self.token, self.patterns.between
        while position < self._end:
            match = between(self.text, position)
            if match is not None:
                group = match.lastindex or 0
                token.type = kind = _BETWEEN[match[group].lower()]
                token.start, token.end = match.span(group)
                self._count_depth(kind, token.start)
                position = token.end
                yield token
                continue
            run: list[TransformerNode] = []
            word = None
            if self._fuse:
                word, position = self._read_run(position, run)
            if run:
                yield from self._run_tokens(word, run)
            else:
                position = yield from self._comparison(position)

    def _run_tokens(self, word: str | None, run: list[TransformerNode]) -> Iterator[Token]:
        token = self.token
        if word == "and":
            token.type, token.value = "AND_COMPARISONS", run
            yield token
            return
        last = run[-1]
        if len(run) > 1:
            token.type, token.value = "OR_COMPARISONS", run[:-1]
            yield token
        token.type, token.value = "OR_COMPARISON" if word else "COMPARISON", last
        yield token

    def _read_run(self, position: int, run: list[TransformerNode]) -> tuple[str | None, int]:
        """Add the simple comparisons that the first one's word joins; that word, and the end.

        One without a word before it is a run by itself.
        """
        text, make = self.text, self.make
        match_at, relations, decode = self.patterns.comparison, RELATIONS, self._decode
        left = self.limits.max_terms - self._terms
        run_word: str | None = None
        match = match_at(text, position)
        while match is not None:
            word, field, relation = match.group(1, 2, 3)
            if word is not None:
                word = word.lower()
            if word != run_word:
                if run:
                    break
                run_word = word
            op: Operation
            value: object
            if relation is None:
                op, value = self._word_comparison(match)
            else:
                op, value = relations[relation], decode(match, 3)
            if len(run) >= left:
                raise self._too_many_terms(match.start(2))
            try:
                run.append(make(field.strip("`"), op, value))
            except QueryError as error:
                raise error.at(text, match.start(2)) from None
            position = match.end()
            if word is None:
                break
            match = match_at(text, position)
        if run:
            self._terms += len(run)
            self._depth -= self._nots
            self._nots = 0
        return run_word, position

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


# Groups of `Patterns.comparison`: seven for a relation come before.
_TEXT_WORD, _TEXT, _IS_NULL, _IS_NOT_NULL = 8, 9, 10, 11
_SCALARS: Final = frozenset(VALUE_TERMINALS)
_NUMBERS: Final = frozenset({"INTEGER", "DECIMAL", "FLOAT"})
_OPENING: Final = frozenset({"LPAR", "ALL", "ANY"})
_BETWEEN: Final = {"(": "LPAR", ")": "RPAR", "not": "NOT", "and": "AND", "or": "OR"}
_QUOTES: Final = frozenset("'\"")
_CLOSED: Final = re.compile(
    r"""'[^'\\]*+(?:\\.[^'\\]*+)*+'|"[^"\\]*+(?:\\.[^"\\]*+)*+["]""", re.DOTALL
)
_ANYTHING: Final = re.compile(r"\s*+([\w.:+-]+|.)", re.DOTALL)
