"""Filters as a shape and its values.

The shape of a filter (fields, comparisons, structure, no values) becomes an SQL expression once;
after that a query of the same shape only brings its values. Nothing of a value is ever in the text.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, cast

import sqlalchemy as sa
from sqlalchemy.sql import elements as sa_elements
from sqlalchemy.types import TypeEngine

from varco_domain.exception import FieldNotFound
from varco_domain.meta import FieldKind, FieldMeta, ParsedMeta
from varco_query import (
    AndNode,
    ComparisonNode,
    NotNode,
    Operation,
    OperationNotSupportedError,
    QueryLimitError,
    TransformerNode,
)
from varco_sa._dialect import Dialect
from varco_sa._fold import fold
from varco_sa._lowering import NOT_NULL, NOTHING, ORDER, Placed, around, mirrored, order, place_for
from varco_sa._patterns import glob_pattern, like_pattern, tokens
from varco_sa._types import Comparable, Text

# Compiling SQL recurses; a filter nests no deeper than this in AND within OR within AND.
MAX_DEPTH: Final = 60
# SQLite's expressions nest 1,000 levels, and a chain of AND counts as one for each term.
MAX_CHAIN: Final = 200
# SQLite refuses longer patterns; in bytes.
MAX_PATTERN: Final = 50_000
# PostgreSQL and SQLite take 32,766 parameters.
MAX_VALUES: Final = 32_000

type Bind = Callable[..., sa.BindParameter[Any]]
type Step = tuple[Any, ...]
type Shape = tuple[Step, ...]

_NULLS: Final = {
    (Operation.IS_NULL, False): ("null",),
    (Operation.IS_NOT_NULL, False): NOT_NULL,
    (Operation.IS_NULL, True): NOT_NULL,
    (Operation.IS_NOT_NULL, True): ("null",),
}
_PATTERNS: Final = frozenset(
    {
        Operation.LIKE,
        Operation.ILIKE,
        Operation.CONTAINS,
        Operation.STARTSWITH,
        Operation.ENDSWITH,
    }
)
_OPERATORS: Final[dict[str, Callable[[Any, Any], sa.ColumnElement[bool]]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_JSON_OPERATIONS: Final = (Operation.IS_NULL, Operation.IS_NOT_NULL)


class FieldFilter:
    """Comparisons of one field: their steps, and the SQL of a step."""

    def __init__(self, field: FieldMeta, column: sa.Column[Any], dialect: Dialect) -> None:
        self.field = field
        self.column = column
        self._dialect = dialect
        self._place = place_for(field, dialect)
        self._is_text = self._place("") is not None
        self.type: TypeEngine[Any] = column.type
        if field.kind is FieldKind.DECIMAL:
            self.type = Comparable()
        elif self._is_text:
            self.type = Text()

    def key(self, value: Any) -> Any:
        """The value as one that the column can hold; None when no row can have it as its key."""
        if isinstance(value, Enum):
            value = value.value
        if isinstance(value, str) and ("\0" in value or not _encodes(value)):
            return None
        if self.field.kind is FieldKind.BYTES:
            return value if isinstance(value, bytes) else None
        placed = self._place(value)
        return None if placed is None or not placed.exact else placed.value

    def steps(self, node: ComparisonNode, *, negated: bool) -> list[tuple[Step, tuple[Any, ...]]]:
        """The comparison, or its negation, as postfix steps with their values."""
        op, value = node.op, node.value
        if op in ORDER:
            sign = mirrored(ORDER[op]) if negated else ORDER[op]
            return self._order(sign, value)
        if (op, negated) in _NULLS:
            return [self._step(_NULLS[op, negated])]
        if self.field.kind is FieldKind.JSON:
            raise OperationNotSupportedError(op, node.field, _JSON_OPERATIONS)
        if op in _PATTERNS:
            return self._pattern(op, str(value), negated=negated)
        if op is Operation.BETWEEN:
            low, high = cast("tuple[Any, Any]", value)
            if negated:
                return [*self._order("<", low), *self._order(">", high), (("or", 2), ())]
            return [*self._order(">=", low), *self._order("<=", high), (("and", 2), ())]
        return self._members(value, wanted=(op is Operation.IN) is not negated)

    def _step(self, step: Step, *values: Any) -> tuple[Step, tuple[Any, ...]]:
        return (self.field.name, *step), values

    def _order(self, sign: str, value: Any) -> list[tuple[Step, tuple[Any, ...]]]:
        kind = self.field.kind
        if kind is FieldKind.JSON:
            raise OperationNotSupportedError(sign, self.field.name, _JSON_OPERATIONS)
        if kind is FieldKind.DECIMAL and isinstance(value, float):
            return self._order_float(sign, value)
        step = order(sign, self._place(value))
        return [self._step(step[:1], *step[1:])]

    def _order_float(self, sign: str, value: float) -> list[tuple[Step, tuple[Any, ...]]]:
        low, high, both = around(value)
        at_low, at_high = (">=", "<=") if both else (">", "<")
        match sign:
            case "=":
                found = [*self._order(at_low, low), *self._order(at_high, high)]
                return [*found, (("and", 2), ())]
            case "!=":
                below, above = mirrored(at_low), mirrored(at_high)
                return [*self._order(below, low), *self._order(above, high), (("or", 2), ())]
            case "<":
                return self._order(mirrored(at_low), low)
            case "<=":
                return self._order(at_high, high)
            case ">":
                return self._order(mirrored(at_high), high)
            case _:
                return self._order(at_low, low)

    def _members(  # noqa: C901  # exact, inexact and floating literals are a case each
        self, values: Any, *, wanted: bool
    ) -> list[tuple[Step, tuple[Any, ...]]]:
        if not values:
            return [(("true",), ())] if not wanted else [(("false",), ())]
        placed: list[Placed] = []
        floats: list[float] = []
        for value in values:
            if self.field.kind is FieldKind.DECIMAL and isinstance(value, float):
                floats.append(value)
            elif (found := self._place(value)) is not None:
                placed.append(found)
        strange = len(placed) + len(floats) < len(values)
        if (strange and not wanted) or not (placed or floats):
            # What compares with nothing is not known to be absent either.
            return [self._step(NOTHING)]
        exact = list(dict.fromkeys(each.value for each in placed if each.exact))
        if len(exact) > MAX_VALUES:
            raise QueryLimitError("list_size", MAX_VALUES, len(exact))
        found_steps: list[tuple[Step, tuple[Any, ...]]] = []
        if exact:
            found_steps.append(self._step(("in",) if wanted else ("not in",), exact))
        elif not floats:
            return [self._step(NOTHING if wanted else NOT_NULL)]
        for each in floats:
            found_steps += self._order_float("=" if wanted else "!=", each)
        count = len(floats) + bool(exact)
        if count > 1:
            found_steps.append((("or" if wanted else "and", count), ()))
        return found_steps

    def _pattern(
        self, op: Operation, text: str, *, negated: bool
    ) -> list[tuple[Step, tuple[Any, ...]]]:
        if not self._is_text:
            return [self._step(NOTHING)]
        parts = tokens(op, fold(text) if op is Operation.ILIKE else text)
        globs = self._dialect.globs
        value = glob_pattern(parts) if globs else like_pattern(parts)
        if globs and len(value) * 4 > MAX_PATTERN < (size := len(value.encode())):
            raise QueryLimitError("pattern_length", MAX_PATTERN, size)
        name = "ilike" if op is Operation.ILIKE else "like"
        return [self._step((f"not {name}" if negated else name,), value)]

    def expression(self, step: Step, bind: Bind) -> sa.ColumnElement[bool]:
        """The SQL of a step; ``bind`` makes its parameter."""
        column, name = self.column, step[1]
        match name:
            case "null":
                return column.is_(None)
            case "not null":
                return column.is_not(None)
            case "false":
                return sa.false()
            case "in" | "not in":
                return self._in(bind, wanted=name == "in")
            case "like" | "not like":
                matched = self._like(column, bind(Text()))
                return matched if name == "like" else sa.not_(matched)
            case "ilike" | "not ilike":
                matched = self._like(self._folded(), bind(Text()))
                return matched if name == "ilike" else sa.not_(matched)
            case _:
                return _OPERATORS[name](column, bind(self.type))

    def _in(self, bind: Bind, *, wanted: bool) -> sa.ColumnElement[bool]:
        if self._dialect.arrays:
            # One statement, whatever the length of the list.
            among = self.column == sa.any_(bind(sa.ARRAY(self.type)))
            return among if wanted else sa.not_(among)
        among = self.column.in_(bind(self.type, expanding=True))
        return among if wanted else sa.not_(among)

    def _like(
        self, text: sa.ColumnElement[Any], pattern: sa.ColumnElement[Any]
    ) -> sa.ColumnElement[bool]:
        if self._dialect.globs:
            return text.op("GLOB", is_comparison=True)(pattern)
        return text.like(pattern, escape="\\")

    def _folded(self) -> sa.ColumnElement[Any]:
        return self._dialect.folded(self.column)


def _encodes(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= each <= "\udfff" for each in text)


class Filters:
    """The filters of one model on one kind of engine."""

    def __init__(
        self, meta: ParsedMeta, columns: Mapping[str, sa.Column[Any]], dialect: Dialect
    ) -> None:
        self._table = meta.table
        self.fields: dict[str, FieldFilter] = {
            name: FieldFilter(meta.fields[name], column, dialect)
            for name, column in columns.items()
        }

    def field(self, name: str) -> FieldFilter:
        """The filter of a field.

        Raises:
            FieldNotFound: The model has no such field.
        """
        try:
            return self.fields[name]
        except KeyError:
            raise FieldNotFound(name, self._table) from None

    def shape(self, node: TransformerNode) -> tuple[Shape, list[Any]]:
        """The filter's shape in postfix, and its values in the order of the shape.

        Negation is pushed down to the comparisons, as the evaluation in memory does: what is left
        is true exactly when it is true with "unknown" read as "false".

        Raises:
            FieldNotFound: A comparison names no field of the model.
            QueryLimitError: The filter nests too deeply or has too many values.
        """
        if isinstance(node, ComparisonNode):
            # The common case, and the quick way through.
            single = self.field(node.field).steps(node, negated=False)
            return tuple(s for s, _ in single), [v for _, vs in single for v in vs]
        found: list[tuple[Step, tuple[Any, ...]]] = []
        # To visit: a node, whether it is negated, how deep; or a step that closes an AND or OR.
        stack: list[tuple[Any, bool, int]] = [(node, False, 0)]
        while stack:
            item, negated, depth = stack.pop()
            if isinstance(item, tuple):
                found.append((cast("Any", item), ()))
                continue
            node = cast("TransformerNode", item)
            while isinstance(node, NotNode):
                node, negated = node.child, not negated
            if isinstance(node, ComparisonNode):
                found += self.field(node.field).steps(node, negated=negated)
                continue
            if depth > MAX_DEPTH:
                raise QueryLimitError("depth", MAX_DEPTH)
            conjunction = isinstance(node, AndNode) is not negated
            children = _flat(node, negated=negated)
            stack.append((("and" if conjunction else "or", len(children)), False, 0))
            stack.extend((child, neg, depth + 1) for child, neg in reversed(children))
        values = [value for _, given in found for value in given]
        if len(values) > MAX_VALUES:
            raise QueryLimitError("terms", MAX_VALUES, len(values))
        return tuple(step for step, _ in found), values

    def expression(
        self, shape: Sequence[Step], *, literals: Sequence[Any] | None = None
    ) -> sa.ColumnElement[bool]:
        """The SQL of a shape.

        Its values are the parameters p0, p1, …, or ``literals`` where no parameters can be: in the
        text of a constraint, which SQLAlchemy writes.
        """
        stack: list[sa.ColumnElement[bool]] = []
        number = 0

        def bind(type_: TypeEngine[Any], *, expanding: bool = False) -> sa.BindParameter[Any]:
            nonlocal number
            name, number = f"p{number}", number + 1
            if literals is None:
                return sa.bindparam(name, type_=type_, expanding=expanding)
            return sa.bindparam(None, literals[number - 1], type_=type_, expanding=expanding)

        for step in shape:
            match step:
                case ("and" | "or" as name, int() as count):
                    terms = stack[len(stack) - count :]
                    stack[len(stack) - count :] = [_joined(name, terms)]
                case ("true",):
                    stack.append(sa.true())
                case ("false",):
                    stack.append(sa.false())
                case _:
                    stack.append(self.fields[step[0]].expression(step, bind))
        return stack[0]


class _Group(sa_elements.Grouping[bool]):
    """Parentheses that stay: SQLAlchemy dissolves an AND of ANDs, by asking for the operator."""

    inherit_cache = True
    operator = None


def _joined(name: str, terms: list[sa.ColumnElement[bool]]) -> sa.ColumnElement[bool]:
    """The terms in AND or in OR, in groups: SQLite's parser nests a long chain too deeply."""
    while len(terms) > MAX_CHAIN:
        terms = [
            _Group(_joined(name, terms[start : start + MAX_CHAIN]))
            for start in range(0, len(terms), MAX_CHAIN)
        ]
    return sa.and_(sa.true(), *terms) if name == "and" else sa.or_(sa.false(), *terms)


def _flat(node: TransformerNode, *, negated: bool) -> list[tuple[TransformerNode, bool]]:
    """The children, and instead of a child of the same kind its own children, to any depth."""
    kind = isinstance(node, AndNode) is not negated
    found: list[tuple[TransformerNode, bool]] = []
    stack = [(child, negated) for child in reversed(node.children)]
    while stack:
        child, neg = stack.pop()
        while isinstance(child, NotNode):
            child, neg = child.child, not neg
        if (
            not isinstance(child, ComparisonNode)
            and (isinstance(child, AndNode) is not neg) is kind
        ):
            stack.extend((each, neg) for each in reversed(child.children))
        else:
            found.append((child, neg))
    return found
