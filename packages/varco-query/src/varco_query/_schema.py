"""Which fields a query may use, and what they hold."""

import dataclasses
import inspect
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import Enum
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NamedTuple,
    Self,
    TypeAliasType,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

if sys.version_info >= (3, 14):
    import annotationlib

from varco_query._coerce import COERCERS, Coerce
from varco_query._errors import (
    CoercionError,
    InvalidNodeError,
    OperationNotSupportedError,
    UnknownFieldError,
    join_words,
    shorten,
)
from varco_query._node import ComparisonNode, TransformerNode, trusted_comparison
from varco_query._operation import OPERATORS, Fields, Operation, Takes, operator_of
from varco_query._params import QueryParams, SortField
from varco_query._value import Scalar, check_field, check_scalar, same_value
from varco_query._visitor import ASTTransformer


@dataclasses.dataclass(frozen=True, slots=True)
class QueryField:
    """What a query may ask of a field.

    Attributes:
        type: What it holds: one of the types of `Scalar`, or an enum.
        operations: What may be asked; by default all that make sense for the type.
        name: What the field is called in the node, when it is asked for by another name.
        choices: The values there are, when not all of the type.
        sortable: Whether a sort may use it.
    """

    type: type
    operations: frozenset[Operation] | None = None
    name: str | None = None
    choices: tuple[Scalar, ...] = ()
    sortable: bool = True


class _Rule(NamedTuple):
    name: str
    kind: type
    choices: tuple[Scalar, ...]
    operations: frozenset[Operation]
    exact: type | None  # a value of it is what it has to be already
    coerce: Coerce
    expected: str
    sortable: bool


class QuerySchema:
    """The fields that a query may use; all others are unknown. Immutable.

    Args:
        fields: The type of each field, or a `QueryField` that says more.
        aliases: Other names for fields: `{"created": "created_at"}`.
        relations: The schemas of related models, whose fields follow a dot: `author.name`.

    Raises:
        InvalidNodeError: A type is none that queries know.
        UnknownFieldError: An alias is for a field that is not there.
    """

    def __init__(
        self,
        fields: Mapping[str, type | QueryField] | None = None,
        *,
        aliases: Mapping[str, str] | None = None,
        relations: "Mapping[str, QuerySchema] | None" = None,
    ) -> None:
        rules = {check_field(name): _rule(name, field) for name, field in (fields or {}).items()}
        for prefix, schema in (relations or {}).items():
            for name, rule in schema._rules.items():  # noqa: SLF001  # of this class
                path = check_field(f"{prefix}.{name}")
                rules[path] = rule._replace(name=f"{prefix}.{rule.name}")
        for alias, name in (aliases or {}).items():
            if name not in rules:
                raise UnknownFieldError(name, rules)
            rules[check_field(alias)] = rules[name]
        self._rules: Final[dict[str, _Rule]] = rules

    @classmethod
    def of(
        cls,
        model: type,
        *,
        include: Iterable[str] | None = None,
        exclude: Iterable[str] = (),
        aliases: Mapping[str, str] | None = None,
        relations: "Mapping[str, QuerySchema] | None" = None,
    ) -> Self:
        """The schema of a dataclass or pydantic model.

        Fields of types that queries do not know, and those that begin with an underscore, are left
        out.

        Args:
            model: The class.
            include: The only fields to take; one that cannot be taken is an error.
            exclude: Fields to leave out.
            aliases: As for the class.
            relations: As for the class.

        Raises:
            InvalidNodeError: The class is neither, or its annotations cannot be resolved.
            UnknownFieldError: `include` or `exclude` name a field that is not there.
        """
        hints = _hints(model)
        found = {name: field for name, hint in hints.items() if (field := _field(hint)) is not None}
        excluded = set(exclude)
        for name in excluded - hints.keys():
            raise UnknownFieldError(name, hints)
        if include is None:
            chosen = [name for name in found if not name.startswith("_")]
        else:
            chosen = list(include)
        for name in chosen:
            if name not in found:
                raise UnknownFieldError(name, found)
        fields = {name: found[name] for name in chosen if name not in excluded}
        return cls(fields, aliases=aliases, relations=relations)

    @property
    def fields(self) -> tuple[str, ...]:
        """The names that a query may use."""
        return tuple(self._rules)

    def field(self, name: str) -> QueryField:
        """What a query may ask of a field, with the field's own name.

        Raises:
            UnknownFieldError: The schema has no such field.
        """
        rule = self._rules.get(name)
        if rule is None:
            raise UnknownFieldError(name, self._rules)
        return QueryField(rule.kind, rule.operations, rule.name, rule.choices, rule.sortable)

    def comparison(self, field: str, op: Operation, value: object = None) -> ComparisonNode:
        """The comparison with the field's own name and the value in the field's type.

        Raises:
            UnknownFieldError: The schema has no such field.
            OperationNotSupportedError: The field does not allow the operation.
            CoercionError: The value does not fit the field's type.
            InvalidNodeError: The value does not go with the operation.
        """
        if value is None:
            op = operator_of(op).of_null or op
        rule = self._allowed(field, op)
        return self._fitted(ComparisonNode(rule.name, op, value), rule, field)

    def _allowed(self, field: str, op: Operation) -> _Rule:
        rule = self._rules.get(field)
        if rule is None:
            raise UnknownFieldError(field, self._rules)
        if op not in rule.operations:
            raise OperationNotSupportedError(op, field, sorted(rule.operations))
        return rule

    def _fitted(self, node: ComparisonNode, rule: _Rule, field: str) -> ComparisonNode:
        """A comparison, whose value goes with its operation, of the rule's field in its type."""
        value: Any = node.value
        takes = operator_of(node.op).takes
        if takes is Takes.VALUE:
            value = _coerced(rule, field, value)
        elif takes is Takes.LIST or takes is Takes.PAIR:
            value = _all_coerced(rule, field, value)
        if node.field == rule.name and same_value(value, node.value):
            return node
        return trusted_comparison(rule.name, node.op, value)

    def coerce(self, node: TransformerNode) -> TransformerNode:
        """The tree with the fields' own names and every value in its field's type.

        Raises:
            QueryError: As for `comparison`.
        """

        def fit(node: ComparisonNode) -> ComparisonNode:
            return self._fitted(node, self._allowed(node.field, node.op), node.field)

        return _Coercion(fit).visit(node)

    def coerce_sort(self, sort: Iterable[SortField]) -> tuple[SortField, ...]:
        """The sort with the fields' own names.

        Raises:
            UnknownFieldError: The schema has no such field, or does not let it be sorted by.
        """
        return tuple([SortField(self._sort_name(each.field), each.order) for each in sort])

    def coerce_params(self, params: QueryParams) -> QueryParams:
        """The params with filter and sort coerced.

        Raises:
            QueryError: As for `coerce` and `coerce_sort`.
        """
        node = None if params.node is None else self.coerce(params.node)
        return dataclasses.replace(params, node=node, sort=self.coerce_sort(params.sort))

    def _sort_name(self, field: str) -> str:
        rule = self._rules.get(field)
        if rule is None or not rule.sortable:
            sortable = [name for name, rule in self._rules.items() if rule.sortable]
            raise UnknownFieldError(field, sortable)
        return rule.name


class _Coercion(ASTTransformer):
    def __init__(self, fit: Callable[[ComparisonNode], ComparisonNode]) -> None:
        self._fit = fit

    def visit_comparison(self, node: ComparisonNode) -> TransformerNode:
        return self._fit(node)


def text_comparison(schema: QuerySchema, field: str, op: Operation, value: Any) -> ComparisonNode:
    """As `comparison` of a schema, of values that were checked when they were read from text."""
    takes = operator_of(op).takes
    listed = takes is Takes.LIST and None not in value
    if not listed and (takes is not Takes.VALUE or value is None):
        return schema.comparison(field, op, value)
    rule = schema._allowed(field, op)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] # of this file
    fitted = (_all_coerced if listed else _coerced)(rule, field, value)
    return trusted_comparison(rule.name, op, fitted)


def _all_coerced(rule: _Rule, field: str, values: Iterable[Scalar]) -> tuple[Scalar, ...]:
    exact = rule.exact
    return tuple(
        [each if each.__class__ is exact else _coerced(rule, field, each) for each in values]
    )


def _coerced(rule: _Rule, field: str, value: Scalar) -> Scalar:
    if value.__class__ is rule.exact:
        return value
    try:
        coerced = rule.coerce(value)
        if coerced is not None:
            return check_scalar(coerced)
    except InvalidNodeError as error:
        raise CoercionError(field, value, rule.expected, error.message) from None
    raise CoercionError(field, value, rule.expected)


def _rule(name: str, given: type | QueryField) -> _Rule:
    field = given if isinstance(given, QueryField) else QueryField(given)
    derived = _field(field.type)
    if derived is None:
        names = join_words(kind.__name__ for kind in COERCERS)
        raise InvalidNodeError(
            f"field {name!r} has type {shorten(field.type)}; a query knows {names} and enums"
        )
    choices = field.choices or derived.choices
    expected, coerce = COERCERS[derived.type]
    exact = None if choices or derived.type is datetime else derived.type
    if choices:
        expected, coerce = f"one of {join_words(map(repr, choices))}", _chooser(choices)
    operations = field.operations
    if operations is None:
        operations = _default_operations(derived.type, choices)
    return _Rule(
        check_field(field.name or name),
        derived.type,
        choices,
        operations,
        exact,
        coerce,
        expected,
        field.sortable,
    )


def _chooser(choices: tuple[Scalar, ...]) -> Coerce:
    def coerce(value: Any) -> Scalar | None:
        return next((choice for choice in choices if same_value(choice, value)), None)

    return coerce


def _default_operations(kind: type, choices: tuple[Scalar, ...]) -> frozenset[Operation]:
    fitting = {Fields.ALL}
    if kind is not bool and not choices:
        fitting |= {Fields.ORDERED, Fields.TEXTS} if kind is str else {Fields.ORDERED}
    return frozenset(op for op, operator in OPERATORS.items() if operator.fields in fitting)


def _hints(model: type) -> dict[str, Any]:
    declared: Any = getattr(model, "model_fields", None)
    if isinstance(declared, Mapping):
        fields = cast("Mapping[str, Any]", declared)
        return {name: field.annotation for name, field in fields.items()}
    if not dataclasses.is_dataclass(model):
        raise InvalidNodeError(
            f"{shorten(cast('object', model))} is neither a dataclass nor has it model_fields"
        )
    names = [field.name for field in dataclasses.fields(model)]
    hints: dict[str, Any] = {}
    try:
        for base in reversed(model.__mro__):
            hints |= _own_hints(base, names)
    except (NameError, TypeError) as error:
        raise InvalidNodeError(
            f"the annotations of {model.__name__} cannot be resolved ({error}); list its fields"
        ) from None
    return {name: hints[name] for name in names}


def _own_hints(base: type, names: Iterable[str]) -> dict[str, Any]:
    """The types of the fields that a class itself declares; nothing else of it need be readable."""
    if sys.version_info >= (3, 14):
        own = annotationlib.get_annotations(base, format=annotationlib.Format.FORWARDREF)
    else:
        own = inspect.get_annotations(base)
    fields = {name: own[name] for name in names if name in own}
    module = sys.modules.get(base.__module__)
    # A class of the same names, since what reads types reads all that a class is annotated with.
    holder = type(base.__name__, (), {"__annotations__": fields})
    here = {each.__name__: each for each in (base, *getattr(base, "__type_params__", ()))}
    return get_type_hints(holder, vars(module) if module else {}, here)


def _field(hint: Any) -> QueryField | None:
    """What an annotation says of a field; None when queries do not know its type."""
    while True:
        origin = get_origin(hint)
        if isinstance(hint, TypeAliasType):
            hint = hint.__value__
        elif hasattr(hint, "__supertype__"):
            hint = hint.__supertype__
        elif origin is Annotated:
            hint = get_args(hint)[0]
        elif origin is Union or origin is types.UnionType:
            options = [each for each in get_args(hint) if each is not type(None)]
            if len(options) != 1:
                return None
            (hint,) = options
        else:
            break
    if origin is Literal:
        return _choice(get_args(hint))
    if not isinstance(hint, type):
        return None
    if issubclass(hint, Enum):
        return _choice([member.value for member in hint])
    # bool before int and datetime before date, as COERCERS lists them.
    kind = next((kind for kind in COERCERS if issubclass(hint, kind)), None)
    return None if kind is None else QueryField(kind)


def _choice(values: Iterable[Any]) -> QueryField | None:
    try:
        choices = tuple(check_scalar(value) for value in values if value is not None)
    except InvalidNodeError:
        return None
    return QueryField(type(choices[0]), choices=choices) if choices else None
