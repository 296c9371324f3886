"""From the grammar's rules to nodes, and from lark's errors to ours."""

from collections.abc import Callable
from functools import cache
from operator import attrgetter, itemgetter
from typing import Any, Final, cast

from varco_query._errors import (
    QueryLimitError,
    QuerySyntaxError,
    close_match,
    join_words,
    shorten,
)
from varco_query._lalr import Table
from varco_query._limits import Limits
from varco_query._node import AndNode, NotNode, OrNode, TransformerNode
from varco_query._operation import Operation
from varco_query._scan import RELATIONS, VALUE_TERMINALS, MakeLeaf, Patterns, Scan

# What a rule gets of a field: how to make its comparison, its name and its offset.
type _FieldAt = tuple[Callable[..., TransformerNode], str, int]


def _finish(kind: type[AndNode | OrNode], value: Any) -> TransformerNode:
    """A node of the operands that a rule has gathered in a list; one by itself stays what it is."""
    return kind(*value) if value.__class__ is list else value


def _gather(left: Any, right: Any) -> list[Any]:
    if left.__class__ is list:
        left.append(right)
        return left
    return [left, right]


def _gather_all(left: Any, right: list[Any]) -> list[Any]:
    if left.__class__ is list:
        left.extend(right)
        return left
    return [left, *right]


class _Rules:
    """A method for each rule of the grammar; each gets the values of the rule's parts.

    A conjunction or disjunction is a list while it grows, and a node once it is complete.
    """

    # In C; a unit rule costs half as much as with a method.
    same = staticmethod(itemgetter(0))

    def start(self, parts: list[Any]) -> TransformerNode:
        return _finish(OrNode, parts[0])

    def alone(self, parts: list[Any]) -> Any:
        return _finish(AndNode, parts[0])

    def or_(self, parts: list[Any]) -> Any:
        return _gather(parts[0], _finish(AndNode, parts[2]))

    def or_comparison(self, parts: list[Any]) -> Any:
        return _gather(parts[0], parts[1])

    def or_comparisons(self, parts: list[Any]) -> Any:
        return _gather_all(parts[0], parts[1])

    def or_conjunction(self, parts: list[Any]) -> Any:
        return _gather(parts[0], _finish(AndNode, parts[1]))

    def and_(self, parts: list[Any]) -> Any:
        return _gather(parts[0], parts[2])

    def and_comparisons(self, parts: list[Any]) -> Any:
        return _gather_all(parts[0], parts[1])

    def not_(self, parts: list[Any]) -> NotNode:
        return NotNode(parts[1])

    def group(self, parts: list[Any]) -> TransformerNode:
        return _finish(OrNode, parts[1])

    def all_(self, parts: list[Any]) -> AndNode:
        return AndNode(*(parts[1] if len(parts) == 3 else ()))  # noqa: PLR2004  # ALL( list )

    def any_(self, parts: list[Any]) -> OrNode:
        return OrNode(*(parts[1] if len(parts) == 3 else ()))  # noqa: PLR2004  # ANY( list )

    def one_query(self, parts: list[Any]) -> list[TransformerNode]:
        return [_finish(OrNode, parts[0])]

    def more_queries(self, parts: list[Any]) -> list[TransformerNode]:
        parts[0].append(_finish(OrNode, parts[2]))
        return cast("list[TransformerNode]", parts[0])

    def one_value(self, parts: list[Any]) -> list[Any]:
        return parts

    def last_value(self, parts: list[Any]) -> list[Any]:
        return [*parts[0], parts[1]]

    def more_values(self, parts: list[Any]) -> list[Any]:
        parts[0].append(parts[2])
        return cast("list[Any]", parts[0])

    def relation(self, parts: list[Any]) -> TransformerNode:
        return _leaf(parts[0], _operation(parts[1]), parts[2])

    def not_text(self, parts: list[Any]) -> TransformerNode:
        return NotNode(_leaf(parts[0], _operation(parts[2]), parts[3]))

    def in_(self, parts: list[Any]) -> TransformerNode:
        return _leaf(parts[0], Operation.IN, parts[2])

    def in_nothing(self, parts: list[Any]) -> TransformerNode:
        return _leaf(parts[0], Operation.IN, [])

    def not_in(self, parts: list[Any]) -> TransformerNode:
        return _leaf(parts[0], Operation.NOT_IN, parts[3])

    def not_in_nothing(self, parts: list[Any]) -> TransformerNode:
        return _leaf(parts[0], Operation.NOT_IN, [])

    def between(self, parts: list[Any]) -> TransformerNode:
        return _leaf(parts[0], Operation.BETWEEN, [parts[2], parts[4]])

    def not_between(self, parts: list[Any]) -> TransformerNode:
        return NotNode(_leaf(parts[0], Operation.BETWEEN, [parts[3], parts[5]]))

    def is_null(self, parts: list[Any]) -> TransformerNode:
        return _leaf(parts[0], Operation.IS_NULL, None)

    def is_not_null(self, parts: list[Any]) -> TransformerNode:
        return _leaf(parts[0], Operation.IS_NOT_NULL, None)


def _leaf(field: _FieldAt, op: Operation, value: object) -> TransformerNode:
    make, name, start = field
    return make(name, op, value, start)


def _operation(text: str) -> Operation:
    return RELATIONS.get(text) or Operation(text.upper())


def read(text: str, make: MakeLeaf, limits: Limits) -> TransformerNode:
    """The tree of a filter.

    Raises:
        QueryError: The text is no filter, or one that `make` or the limits refuse.
    """
    if len(text) > limits.max_length:
        raise QueryLimitError("max_length", limits.max_length, len(text))
    _check_characters(text)
    lark, patterns, table = _lark()
    node = table.run(Scan(text, make, limits, patterns).tokens())
    if node is not None:
        return cast("TransformerNode", node)
    # Once more by lark itself and without the runs: it says what it expected, and where.
    scan = Scan(text, make, limits, patterns, fuse=False)
    try:
        return cast("TransformerNode", lark.parse(scan))
    except _unexpected_token() as error:
        raise _syntax_error(scan, error) from None


def _check_characters(text: str) -> None:
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


def _syntax_error(scan: Scan, error: Any) -> QuerySyntaxError:
    token = scan.token
    ended = error.token.type == "$END"
    start, end = (len(scan.text.rstrip()),) * 2 if ended else (token.start, token.end)
    accepted: set[str] = error.interactive_parser.accepts()
    if "INTEGER" in accepted:
        accepted = accepted - _VALUES | {"INTEGER"}
    if "OR" in accepted:
        # lark may have completed the AND before it saw that what comes cannot follow.
        accepted |= {"AND"}
    expected = tuple(
        word for name, words in _WORDS.items() if name in accepted for word in words.split(" | ")
    )
    found = END if ended else shorten(scan.text[start:end])
    return QuerySyntaxError(
        f"expected {join_words(expected)}, found {found}{_hint(expected, scan.text[start:end])}",
        expected=expected,
        found=found,
    ).at(scan.text, start)


def _hint(expected: tuple[str, ...], found: str) -> str:
    if VALUE in expected and found[:1].isalpha():
        return "; text needs quotes"
    words = [word.strip("( ") for word in expected if word[:1].isupper()]
    meant = close_match(found, words) if found else None
    return f"; did you mean {meant}?" if meant and meant != found.upper() else ""


@cache
def _unexpected_token() -> type[Exception]:
    from lark.exceptions import UnexpectedToken  # noqa: PLC0415  # only parsing needs it

    return UnexpectedToken


@cache
def _lark() -> tuple[Any, Patterns, Table]:
    """The parser of the grammar, with its terminals and its table.

    Made once; two threads that race make equal ones. lark keeps what changes while it parses in an
    object for each call, so that all may share it.
    """
    from importlib import resources  # noqa: PLC0415  # it loads 40 modules

    import lark  # noqa: PLC0415  # only parsing needs it
    import lark.lexer  # noqa: PLC0415  # likewise

    class Lexer(lark.lexer.Lexer):
        def __init__(self, _lexer_conf: Any) -> None:
            pass

        def lex(self, lexer_state: Any, parser_state: Any = None) -> Any:  # noqa: ARG002  # lark's
            return cast("Scan", lexer_state).tokens()

    files = resources.files("varco_query")
    grammar = "".join(files.joinpath(name).read_text("utf-8") for name in GRAMMAR_FILES)
    rules = _Rules()
    for name in (*_WORDS, *VALUE_TERMINALS, *_RUNS):
        setattr(rules, name, attrgetter("value"))
    parser: Any = lark.Lark(
        grammar, parser="lalr", lexer=Lexer, transformer=rules, keep_all_tokens=True
    )
    patterns = Patterns({each.name: each.pattern.to_regexp() for each in parser.terminals})
    conf = parser.parse_interactive().parser_state.parse_conf
    return parser, patterns, Table(conf, rules.same)


GRAMMAR_FILES: Final = ("grammar.lark", "speed.lark")
END: Final = "the end of the filter"
VALUE: Final = "a value"
_WORDS: Final = {
    "FIELD": "a field",
    "LPAR": "(",
    "NOT": "NOT",
    "ALL": "ALL(",
    "ANY": "ANY(",
    "INTEGER": VALUE,
    "STRING": "text in quotes",
    "RELATION": "= | != | > | >= | < | <=",
    "TEXT_WORD": "LIKE | ILIKE | CONTAINS | STARTSWITH | ENDSWITH",
    "IN": "IN (",
    "BETWEEN": "BETWEEN",
    "IS": "IS",
    "NULL": "NULL",
    "AND": "AND",
    "OR": "OR",
    "COMMA": ",",
    "RPAR": ")",
    "$END": END,
}
_VALUES: Final = frozenset(VALUE_TERMINALS)
_RUNS: Final = ("COMPARISON", "AND_COMPARISONS", "OR_COMPARISON", "OR_COMPARISONS", "ITEMS")
