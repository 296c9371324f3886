"""The nodes of a query.

Immutable and hashable. Nothing here recurses, so a tree may be as deep as memory allows.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, Final, Never, Self, cast, final

from varco_query._check import check_operation, to_operation
from varco_query._errors import InvalidNodeError, shorten
from varco_query._operation import RELATIONS, NodeType, Operation
from varco_query._value import EXACT, FIELDS, Value, check_field, same_value


class TransformerNode:
    """The base of all nodes; combine them with `&`, `|` and `~`."""

    __slots__ = ("_hash",)

    type: ClassVar[NodeType]
    children: "tuple[TransformerNode, ...]"
    _hash: int

    def __and__(self, other: "TransformerNode") -> "AndNode":
        if not isinstance(cast("object", other), TransformerNode):
            return NotImplemented
        if isinstance(self, AndNode):
            # The children are nodes already: checking them each time would make a chain quadratic.
            return conjunction([*self.children, other])
        return AndNode(self, other)

    def __or__(self, other: "TransformerNode") -> "OrNode":
        if not isinstance(cast("object", other), TransformerNode):
            return NotImplemented
        if isinstance(self, OrNode):
            return disjunction([*self.children, other])
        return OrNode(self, other)

    def __invert__(self) -> "NotNode":
        return NotNode(self)

    def __bool__(self) -> Never:
        # `F.a == 1 and F.b == 2` would silently drop the first condition.
        raise TypeError("a query node has no truth value; use &, | and ~, or `is not None`")

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, TransformerNode):
            return NotImplemented
        stack: list[tuple[TransformerNode, TransformerNode]] = [(self, other)]
        while stack:
            left, right = stack.pop()
            if left is right:
                continue
            if left.__class__ is not right.__class__:
                return False
            if isinstance(left, ComparisonNode):
                if not _same(left, cast("ComparisonNode", right)):
                    return False
            elif len(left.children) != len(right.children):
                return False
            else:
                stack.extend(zip(left.children, right.children, strict=True))
        return True

    def __hash__(self) -> int:
        try:
            return self._hash
        except AttributeError:
            pass
        # Down only to what has a hash already: each node is hashed once, however often it is asked.
        stack: list[TransformerNode] = [self]
        while stack:
            missing = [child for child in stack[-1].children if not hasattr(child, "_hash")]
            if missing:
                stack += missing
            else:
                node = stack.pop()
                _set_hash(node, node._own_hash())  # noqa: SLF001  # of this module
        return self._hash

    def _own_hash(self) -> int:
        # Not hash(self.children): every child knows its hash by now, none has to compute it.
        return hash((self.type.value, *[child._hash for child in self.children]))  # noqa: SLF001

    def __repr__(self) -> str:
        out: list[str] = []
        stack: list[TransformerNode | str] = [self]
        while stack:
            item = stack.pop()
            if isinstance(item, str):
                out.append(item)
            elif isinstance(item, ComparisonNode):
                out.append(f"ComparisonNode({item.field!r}, {item.op!s}, {item.value!r})")
            else:
                stack.append(")")
                for index in range(len(item.children) - 1, -1, -1):
                    stack.append(item.children[index])
                    if index:
                        stack.append(", ")
                stack.append(f"{item.__class__.__name__}(")
        return "".join(out)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Callable[[Any], "TransformerNode"], tuple[Any]]:
        return from_flat, (to_flat(self),)


class _OpenComparison(TransformerNode):
    # What a comparison is while it is being made: assignments to its slots are cheap.
    __slots__ = ("field", "op", "value")

    field: str
    op: Operation
    value: Value


def _refuse_set(_self: object, name: str, _value: object) -> Never:
    raise AttributeError(f"query nodes are immutable; cannot set {name!r}")


def _refuse_delete(_self: object, name: str) -> Never:
    raise AttributeError(f"query nodes are immutable; cannot delete {name!r}")


@final
class ComparisonNode(TransformerNode):
    """A field compared with a value.

    `= None` is `IS_NULL` and `!= None` is `IS_NOT_NULL`, whatever backend runs it. Lists become
    tuples, enum members their values, aware datetimes UTC.

    Raises:
        UnknownFieldError: The field is no path of identifiers.
        OperationNotSupportedError: There is no such operation.
        InvalidNodeError: The value does not go with the operation.
    """

    __slots__ = ("field", "op", "value")
    __match_args__ = ("field", "op", "value")
    __setattr__: ClassVar[Callable[..., Never]] = _refuse_set
    __delattr__: ClassVar[Callable[..., Never]] = _refuse_delete

    type = NodeType.COMPARISON
    children: "tuple[TransformerNode, ...]" = ()
    field: str
    op: Operation
    value: Value

    def __new__(cls, field: str, op: Operation, value: object = None) -> "ComparisonNode":
        return comparison(field, op, value)

    def _own_hash(self) -> int:
        return hash((self.field, self.op.value, self.value))


class BinaryNode(TransformerNode):
    """AND and OR: what they have in common.

    Args:
        children: Any number of nodes.
        left: A node that comes before them.
        right: A node that comes after them.

    Raises:
        InvalidNodeError: One of them is no node.
    """

    __slots__ = ("children",)
    __match_args__ = ("children",)
    __setattr__: ClassVar[Callable[..., Never]] = _refuse_set
    __delattr__: ClassVar[Callable[..., Never]] = _refuse_delete

    children: "tuple[TransformerNode, ...]"

    def __init__(
        self,
        *children: TransformerNode,
        left: TransformerNode | None = None,
        right: TransformerNode | None = None,
    ) -> None:
        if left is not None:
            children = (left, *children)
        if right is not None:
            children = (*children, right)
        _set_children(self, _check_children(children))

    @property
    def left(self) -> TransformerNode:
        """The first child.

        Raises:
            InvalidNodeError: There is none.
        """
        if not self.children:
            raise InvalidNodeError(f"{self!r} has no left; ask for its children")
        return self.children[0]

    @property
    def right(self) -> TransformerNode:
        """The second child; of more than two, a node of this kind with all but the first.

        Every step to the right copies what is left: to walk a tree, derive from `ASTVisitor`.

        Raises:
            InvalidNodeError: There is none.
        """
        _, *others = self.children or (self,)
        if not others:
            raise InvalidNodeError(f"{self!r} has no right; ask for its children")
        return others[0] if len(others) == 1 else _with_children(self.__class__, tuple(others))


@final
class AndNode(BinaryNode):
    """True when all children are true; without children, true."""

    __slots__ = ()

    type = NodeType.AND


@final
class OrNode(BinaryNode):
    """True when a child is true; without children, false."""

    __slots__ = ()

    type = NodeType.OR


@final
class NotNode(TransformerNode):
    """True when the child is false, unknown when the child is unknown."""

    __slots__ = ("children",)
    __match_args__ = ("child",)
    __setattr__: ClassVar[Callable[..., Never]] = _refuse_set
    __delattr__: ClassVar[Callable[..., Never]] = _refuse_delete

    type = NodeType.NOT
    children: tuple[TransformerNode, ...]

    def __init__(self, child: TransformerNode) -> None:
        _set_not(self, _check_children((child,)))

    @property
    def child(self) -> TransformerNode:
        """The negated node."""
        return self.children[0]


def slot_setter(cls: type, name: str) -> Callable[[Any, Any], None]:
    """The slot itself: passes a closed __setattr__, at half the cost of object.__setattr__."""
    return cast("Callable[[Any, Any], None]", cls.__dict__[name].__set__)


_set_hash: Final = slot_setter(TransformerNode, "_hash")
_set_children: Final = slot_setter(BinaryNode, "children")
_set_not: Final = slot_setter(NotNode, "children")


def _same(left: ComparisonNode, right: ComparisonNode) -> bool:
    return left.field == right.field and left.op is right.op and same_value(left.value, right.value)


def comparison(field: str, op: Operation, value: object) -> ComparisonNode:
    """What `ComparisonNode(field, op, value)` gives, a little faster."""
    node: Any = _OpenComparison()
    try:
        node.field = FIELDS[field]
        node.op = RELATIONS[op]
        check = EXACT[value.__class__]
    except (KeyError, TypeError):
        # Another operation, a value that is null or a list, or a field not seen before.
        node.field = check_field(field)
        node.op, node.value = check_operation(op, value)
    else:
        node.value = check(value)
    node.__class__ = ComparisonNode
    return node  # type: ignore[no-any-return]  # a cast costs a tenth of the call


def _with_children[N: BinaryNode](cls: type[N], children: tuple[TransformerNode, ...]) -> N:
    # Of what are known to be nodes: checking them each time would make a chain quadratic.
    node = cls.__new__(cls)
    _set_children(node, children)
    return node


def conjunction(children: list[TransformerNode]) -> AndNode:
    """What `AndNode(*children)` gives, of what are known to be nodes."""
    return _with_children(AndNode, tuple(children))


def disjunction(children: list[TransformerNode]) -> OrNode:
    """What `OrNode(*children)` gives, of what are known to be nodes."""
    return _with_children(OrNode, tuple(children))


def trusted_comparison(field: str, op: Operation, value: Value) -> ComparisonNode:
    """A comparison whose parts are known to be right; nothing is checked."""
    node: Any = _OpenComparison()
    node.field = field
    node.op = op
    node.value = value
    node.__class__ = ComparisonNode
    return node  # type: ignore[no-any-return]  # a cast costs a tenth of the call


def _check_children(children: tuple[object, ...]) -> tuple[TransformerNode, ...]:
    for child in children:
        if not isinstance(child, TransformerNode):
            raise InvalidNodeError(f"{shorten(child)} is no query node; call build() on a builder")
    return cast("tuple[TransformerNode, ...]", children)


def postorder(node: TransformerNode) -> list[TransformerNode]:
    """Every node of the tree, children before their parent and in their order."""
    found: list[TransformerNode] = []
    stack = [node]
    while stack:
        node = stack.pop()
        found.append(node)
        stack.extend(node.children)
    found.reverse()
    return found


def walk(node: TransformerNode) -> Iterator[ComparisonNode]:
    """The comparisons of the tree, left to right."""
    return (each for each in postorder(node) if isinstance(each, ComparisonNode))


def to_flat(node: TransformerNode) -> list[tuple[Any, ...]]:
    """The tree in postfix: `(field, op, value)` or `(kind, number of children)`."""
    return [
        (each.field, each.op.value, each.value)
        if isinstance(each, ComparisonNode)
        else (each.type.value, len(each.children))
        for each in postorder(node)
    ]


def from_flat(flat: Iterable[Any]) -> TransformerNode:
    """The tree that `to_flat` wrote down.

    Raises:
        InvalidNodeError: It is no such list.
    """
    stack: list[TransformerNode] = []
    for entry in flat:
        match entry:
            case (str() as field, str() as op, value):
                stack.append(ComparisonNode(field, to_operation(op), value))
            case (("AND" | "OR" | "NOT") as kind, int() as count) if 0 <= count <= len(stack):
                split = len(stack) - count
                stack[split:] = [rebuild(NodeType(kind), tuple(stack[split:]))]
            case _:
                raise InvalidNodeError(f"{shorten(entry)} is no entry of a flat query")
    if len(stack) != 1:
        raise InvalidNodeError(f"a flat query holds one tree, not {len(stack)}")
    return stack[0]


def rebuild(kind: NodeType, children: tuple[TransformerNode, ...]) -> TransformerNode:
    """An inner node of the kind with these children.

    Raises:
        InvalidNodeError: NOT without exactly one child.
    """
    if kind is NodeType.AND:
        return AndNode(*children)
    if kind is NodeType.OR:
        return OrNode(*children)
    if len(children) != 1:
        raise InvalidNodeError(f"NOT has one child, not {len(children)}")
    return NotNode(children[0])
