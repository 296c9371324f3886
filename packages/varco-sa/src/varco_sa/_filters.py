"""Filters as a shape and its values.

The shape of a filter (fields, comparisons, structure, no values) becomes an SQL expression once;
after that a query of the same shape only brings its values. Nothing of a value is ever in the text.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, Final

import sqlalchemy as sa
from sqlalchemy.types import TypeEngine

from varco_domain.backend import FieldKind, FieldMeta, ParsedMeta, as_key, stored_as
from varco_domain.exception import FieldNotFound
from varco_query import AndNode, Operation, QueryLimitError, TransformerNode
from varco_query import compile as kit
from varco_sa._columns import EXISTING
from varco_sa._conditions import CodePoints, Part, joined, leaf
from varco_sa._dialect import Dialect
from varco_sa._mapped import LONGEST, SHORTEST
from varco_sa._mapped_types import (
    MappedFloat,
    MappedMember,
    MappedMoment,
    MappedNumber,
    Padded,
    ShownFloat,
)
from varco_sa._types import Comparable, Integer, Text

# PostgreSQL and SQLite take 32,766 parameters.
MAX_VALUES: Final = 32_000

type Bind = Callable[..., sa.BindParameter[Any]]
type Step = tuple[Any, ...]
type Shape = tuple[Step, ...]
# A step and its values, in postfix.
type Steps = list[tuple[Step, tuple[Any, ...]]]

_RELATIONS: Final[dict[str, Callable[[Any, Any], sa.ColumnElement[bool]]]] = {
    Operation.EQUAL.value: operator.eq,
    Operation.NOT_EQUAL.value: operator.ne,
    Operation.LESS_THAN.value: operator.lt,
    Operation.LESS_EQUAL.value: operator.le,
    Operation.GREATER_THAN.value: operator.gt,
    Operation.GREATER_EQUAL.value: operator.ge,
}


def _stored(field: FieldMeta, column: sa.Column[Any], dialect: Dialect) -> kit.Stored:
    if field.kind is FieldKind.DECIMAL:
        return kit.decimals(*dialect.decimal_limits(field.hint.precision, field.hint.scale))
    if isinstance(column.type, sa.Interval) and not dialect.intervals:
        return kit.Stored(_interval)
    return stored_as(field)


def _interval(value: Any) -> kit.Placed | None:
    """Where a duration lies among those that are stored as a moment so long after 1970."""
    if not isinstance(value, timedelta):
        return None
    if value > LONGEST:
        return kit.Placed(LONGEST, exact=False)
    return kit.Placed(None, exact=False) if value < SHORTEST else kit.Placed(value)


def _compared(
    field: FieldMeta, column: sa.Column[Any], stored: kit.Stored, dialect: Dialect
) -> tuple[sa.ColumnElement[Any], TypeEngine[Any]]:
    """What stands for a field in comparisons and sorts, and the type of what it is compared with.

    A column of a table that existed before is made to compare as the field does in memory.
    """
    if EXISTING not in column.info:
        if stored.decimal:
            return column, Comparable()
        return column, Text() if stored.text else column.type
    if isinstance(column.type, MappedMoment):
        return column, column.type
    if isinstance(column.type, MappedNumber | MappedFloat) and dialect.exact_decimals:
        # Of any size, whatever the column holds.
        exact = isinstance(column.type, MappedNumber)
        return column, Comparable() if exact else MappedFloat(sa.Numeric())
    if isinstance(column.type, ShownFloat):
        # As it is shown: what is compared with it was never rounded to 4 bytes.
        return sa.cast(sa.cast(column, sa.String()), sa.Double()), sa.Double()
    found = _as_value(field, column, stored)
    if stored.text:
        return CodePoints(found), Text()
    if field.kind is FieldKind.INT or isinstance(column.type, MappedMember):
        return found, Integer()  # of any size, whatever the column holds
    return found, column.type


def _as_value(
    field: FieldMeta, column: sa.Column[Any], stored: kit.Stored
) -> sa.ColumnElement[Any]:
    """The value of the field, where the column holds another one, such as a member's name."""
    if isinstance(column.type, MappedMember):
        # It is stored by name, or as a type that sorts as it was declared.
        kind = Text() if stored.text else Integer()
        members = column.type.members.values()
        return sa.case(*((column == each, sa.literal(each.value, kind)) for each in members))
    if isinstance(column.type, sa.Enum):
        return sa.case(*((column == each, sa.literal(each, Text())) for each in field.choices))
    if isinstance(column.type, Padded):
        return sa.cast(column, sa.Text())  # without the spaces at the end
    return column


class FieldFilter:
    """One field: how it is stored, and the SQL of its steps."""

    def __init__(self, field: FieldMeta, column: sa.Column[Any], dialect: Dialect) -> None:
        self.field = field
        self.stored: kit.Stored = _stored(field, column, dialect)
        self.key: Callable[[Any], Any] = as_key(field, self.stored)
        self._dialect = dialect
        self.column: sa.ColumnElement[Any]
        self.type: TypeEngine[Any]
        self.column, self.type = _compared(field, column, self.stored, dialect)

    def expression(self, step: Step, bind: Bind) -> sa.ColumnElement[bool]:
        """The SQL of a step; `bind` makes its parameter."""
        column, dialect = self.column, self._dialect
        match step[1:]:
            case ("null", wanted):
                return column.is_(None) if wanted else column.is_not(None)
            case ("in", wanted):
                found = dialect.among(column, self.type, bind)
            case ("like", wanted):
                found = dialect.like(column, bind(Text()))
            case ("ilike", wanted):
                found = dialect.like(dialect.folded(column), bind(Text()))
            case (relation,):
                return _RELATIONS[relation](column, bind(self.type))
            case _:
                raise AssertionError(step)
        return found if wanted else sa.not_(found)


class Filters(kit.Compiler[Steps]):
    """The filters of one model on one kind of engine. Safe to share between threads."""

    # SQLite's parser holds 100 things open, of which a statement takes up to 16 around a filter.
    nesting: ClassVar[kit.Nesting | None] = kit.Nesting(limit=72, level=0, parenthesis=1, word=2)
    most: ClassVar[int] = MAX_VALUES

    def __init__(
        self, meta: ParsedMeta, columns: Mapping[str, sa.Column[Any]], dialect: Dialect
    ) -> None:
        self._table = meta.table
        self._dialect = dialect
        self.fields: dict[str, FieldFilter] = {
            name: FieldFilter(meta.fields[name], column, dialect)
            for name, column in columns.items()
        }

    def stored(self, field: str) -> kit.Stored:
        """How a field is stored.

        Raises:
            FieldNotFound: The model has no such field.
        """
        try:
            return self.fields[field].stored
        except KeyError:
            raise FieldNotFound(field, self._table) from None

    def compare(self, field: str, op: Operation, value: Any) -> Steps:
        """A relation to a value of the column's type."""
        return [((field, op.value), (value,))]

    def contains(self, field: str, values: Sequence[Any], *, wanted: bool) -> Steps:
        """One of several values: one parameter."""
        if len(values) > MAX_VALUES:
            raise QueryLimitError("max_items", MAX_VALUES, len(values))
        return [((field, "in", wanted), (values,))]

    def null(self, field: str, *, wanted: bool) -> Steps:
        """IS NULL, or IS NOT NULL."""
        self.stored(field)
        return [((field, "null", wanted), ())]

    def matches(self, field: str, pattern: kit.Pattern, *, wanted: bool) -> Steps:
        """A pattern in the words of the engine."""
        name = "ilike" if pattern.folds else "like"
        return [((field, name, wanted), (self._dialect.pattern(pattern),))]

    def join(self, kind: kit.Junction, parts: list[Steps]) -> Steps:
        """The steps of the parts, and one that closes them."""
        # The first part is the deepest: what is in it is not copied at every level.
        steps = parts[0] if parts else []
        for part in parts[1:]:
            steps += part
        steps.append((("and" if kind is AndNode else "or", len(parts)), ()))
        return steps

    def shape(self, node: TransformerNode) -> tuple[Shape, list[Any]]:
        """The filter's shape in postfix, and its values in the order of the shape.

        Raises:
            FieldNotFound: A comparison names no field of the model.
            OperationNotSupportedError: A field does not allow an operation, or nobody knows it.
            QueryLimitError: The filter nests too deeply or has too many values.
        """
        steps = self.compile(node)
        values = [value for _, given in steps for value in given]
        if len(values) > MAX_VALUES:
            raise QueryLimitError("max_terms", MAX_VALUES, len(values))
        return tuple([step for step, _ in steps]), values

    def expression(
        self, shape: Sequence[Step], *, literals: Sequence[Any] | None = None
    ) -> sa.ColumnElement[bool]:
        """The SQL of a shape.

        Its values are the parameters p0, p1, …, or `literals` where no parameters can be: in the
        text of a constraint, which SQLAlchemy writes.
        """
        stack: list[Part] = []
        number = 0

        def bind(type_: TypeEngine[Any], *, expanding: bool = False) -> sa.BindParameter[Any]:
            nonlocal number
            name, number = f"p{number}", number + 1
            if literals is None:
                return sa.bindparam(name, type_=type_, expanding=expanding)
            return sa.bindparam(None, literals[number - 1], type_=type_, expanding=expanding)

        for step in shape:
            match step:
                case ("and" | "or" as word, int() as count):
                    start = len(stack) - count
                    stack[start:] = [joined(word, stack[start:])]
                case _:
                    stack.append(leaf(self.fields[step[0]].expression(step, bind)))
        return stack[0].element()
