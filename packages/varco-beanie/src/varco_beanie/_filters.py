"""Filters as documents: the leaves of the query compiler.

A literal only ever stands behind an operator, as a scalar of its field's own type, and a field as
the place that the model gives it: nothing that a query brings can become an operator or a path.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from varco_beanie._codecs import Codec, finer, naive
from varco_domain.exception import FieldNotFound
from varco_query import AndNode, Operation, OperationNotSupportedError, QueryLimitError
from varco_query import compile as kit

type Filter = dict[str, Any]

_WORDS: Final = {
    Operation.LESS_THAN: "$lt",
    Operation.LESS_EQUAL: "$lte",
    Operation.GREATER_THAN: "$gt",
    Operation.GREATER_EQUAL: "$gte",
}
_NEVER: Final[Filter] = {"_id": {"$in": []}}
# Bytes of a regular expression; MongoDB takes 32,764.
_LONGEST: Final = 32_000
_HINT: Final = (
    ": MongoDB takes no longer regular expression; ILIKE needs several characters for each"
)


class Filters(kit.Compiler[Filter]):
    """The filters of one model. Safe to share between threads."""

    # Of a hundred levels of BSON a group takes two.
    nesting: ClassVar[kit.Nesting | None] = kit.Nesting(limit=40)

    def __init__(
        self,
        table: str,
        paths: Mapping[str, str],
        finer_paths: Mapping[str, str],
        codecs: Mapping[str, Codec],
    ) -> None:
        self._table = table
        self._paths = paths
        self._finer = finer_paths
        self._codecs = codecs

    def stored(self, field: str) -> kit.Stored:
        """How a field is stored.

        Raises:
            FieldNotFound: The model has no such field.
        """
        codec = self._codecs.get(field)
        if codec is None:
            raise FieldNotFound(field, self._table)
        return codec.stored

    def compare(self, field: str, op: Operation, value: Any) -> Filter:
        """A relation to a value of the field."""
        path, codec = self._paths[field], self._codecs[field]
        if codec.moment:
            return self._compare_moment(field, op, value)
        return {path: _related(op, codec.literal(value))}

    def _compare_moment(self, field: str, op: Operation, value: Any) -> Filter:
        """Compare the milliseconds, and beside equal ones what is below them."""
        path, below = self._paths[field], self._finer.get(field)
        at, rest = naive(value), finer(value)
        if below is None:
            return self._compare_coarse(path, op, at, exact=rest is None)
        word = _WORDS.get(op)
        match op:
            case Operation.EQUAL:
                return {path: {"$eq": at}, below: {"$eq": rest}}
            case Operation.NOT_EQUAL:
                others = {path: {"$nin": [None, at]}}
                return {"$or": [others, {path: {"$eq": at}, below: {"$ne": rest}}]}
            case Operation.LESS_THAN | Operation.GREATER_EQUAL if rest is None:
                return {path: {word: at}}
            case Operation.LESS_THAN:
                same: Filter = {"$not": {"$gte": rest}}
            case Operation.LESS_EQUAL:
                same = {"$not": {"$gt": rest or 0}}
            case Operation.GREATER_THAN:
                same = {"$gt": rest or 0}
            case _:
                same = {"$gte": rest}
        strict = "$lt" if op in {Operation.LESS_THAN, Operation.LESS_EQUAL} else "$gt"
        return {"$or": [{path: {strict: at}}, {path: {"$eq": at}, below: same}]}

    def _compare_coarse(self, path: str, op: Operation, at: Any, *, exact: bool) -> Filter:
        """Compare with a moment right above a millisecond, of a field that keeps no more."""
        if exact:
            return {path: _related(op, at)}
        match op:
            case Operation.EQUAL:
                return _NEVER
            case Operation.NOT_EQUAL:
                return {path: {"$ne": None}}
            case Operation.LESS_THAN | Operation.LESS_EQUAL:
                return {path: {"$lte": at}}
            case _:
                return {path: {"$gt": at}}

    def contains(self, field: str, values: Sequence[Any], *, wanted: bool) -> Filter:
        """One of several values."""
        path, codec = self._paths[field], self._codecs[field]
        if codec.moment:
            parts = [self.compare(field, Operation.EQUAL, each) for each in values]
            return {"$or": parts} if wanted else {path: {"$ne": None}, "$nor": parts}
        values = [codec.literal(each) for each in values]
        return {path: {"$in": values} if wanted else {"$nin": [None, *values]}}

    def null(self, field: str, *, wanted: bool) -> Filter:
        """Null, or nothing at all: the two are one."""
        self.stored(field)
        return {self._paths[field]: {"$eq" if wanted else "$ne": None}}

    def matches(self, field: str, pattern: kit.Pattern, *, wanted: bool) -> Filter:
        """A regular expression that knows letter case by itself."""
        path = self._paths[field]
        if not self._codecs[field].matchable:
            raise OperationNotSupportedError("LIKE", field)
        expression = pattern.regex()
        if len(expression) > _LONGEST and len(expression.encode()) > _LONGEST:
            raise QueryLimitError("max_length", _LONGEST, len(expression), _HINT)
        found = {"$regex": expression}
        return {path: found if wanted else {"$not": found, "$ne": None}}

    def join(self, kind: kit.Junction, parts: list[Filter]) -> Filter:
        """All of the parts, or one of them."""
        if not parts:
            return {} if kind is AndNode else _NEVER
        return {"$and" if kind is AndNode else "$or": parts}


def _related(op: Operation, value: Any) -> Filter:
    if op is Operation.EQUAL:
        return {"$eq": value}
    if op is Operation.NOT_EQUAL:
        return {"$nin": [None, value]}
    return {_WORDS[op]: value}
