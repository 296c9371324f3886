"""Ready authorizers, and how to combine them."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from varco_domain._fields import FieldKind, FieldMeta
from varco_domain.auth._base import (
    EVERY_RESOURCE,
    AbstractAuthorizer,
    Action,
    AuthContext,
    BaseAuthorizer,
    Resource,
    ask,
    condition_for,
    refusal,
    resource_key,
)
from varco_domain.exception import ServiceAuthorizationError
from varco_domain.meta import MetaReader, ParsedMeta
from varco_domain.model import DomainModel
from varco_query import AndNode, ComparisonNode, Operation, OrNode, TransformerNode

__all__ = (
    "AllOf",
    "AnyOf",
    "GrantBasedAuthorizer",
    "OwnershipAuthorizer",
    "RoleBasedAuthorizer",
)

_ALL_ROWS = AndNode()
_NO_ROWS = OrNode()
# Kinds whose values can be read back from their text.
_READABLE = frozenset({FieldKind.STR, FieldKind.LITERAL, FieldKind.INT, FieldKind.UUID})
_INT64 = 2**63


class GrantBasedAuthorizer(BaseAuthorizer):
    """Permits what the caller's grants say; a grant on a table covers its rows."""

    def decide(self, ctx: AuthContext, action: Action, resource: Resource) -> bool | None:
        """Look for a grant on the table or on the row."""
        return ctx.can(action, resource.key) or None

    def compile(
        self, ctx: AuthContext, action: Action, entity_type: type[DomainModel]
    ) -> TransformerNode | None:
        """All rows, the rows granted one by one, or none."""
        if type(ctx).can is not AuthContext.can:
            return None  # a context of one's own may decide otherwise than by its grants
        meta = MetaReader.read(entity_type)
        granted = [grant.resource for grant in ctx.grants if action in grant.actions]
        if meta.resource in granted or EVERY_RESOURCE in granted:
            return _ALL_ROWS
        prefix = f"{meta.resource}:"
        keys = [resource for resource in granted if resource.startswith(prefix)]
        if not keys:
            return _NO_ROWS
        if any(meta.fields[name].kind not in _READABLE for name in meta.pk_fields):
            return None
        return _rows(meta, keys)


def _rows(meta: ParsedMeta, keys: Iterable[str]) -> TransformerNode:
    rows: list[tuple[Any, ...]] = []
    for key in keys:
        text = key[len(meta.resource) + 1 :]
        parts = [text]
        if meta.is_composite_pk:
            parts = [p.replace("%3A", ":").replace("%25", "%") for p in text.split(":")]
        if len(parts) != len(meta.pk_fields):
            continue
        values = tuple(
            parse_scalar(meta.fields[name], part)
            for name, part in zip(meta.pk_fields, parts, strict=True)
        )
        pk = values if meta.is_composite_pk else values[0]
        # Only a value that reads back as the granted text is meant: not 42 for "042".
        if None not in values and resource_key(meta.entity_cls, pk) == key:
            rows.append(values)
    if not meta.is_composite_pk:
        return ComparisonNode(meta.pk_fields[0], Operation.IN, [row[0] for row in rows])
    return OrNode(
        *(
            AndNode(
                *(
                    ComparisonNode(name, Operation.EQUAL, value)
                    for name, value in zip(meta.pk_fields, row, strict=True)
                )
            )
            for row in rows
        )
    )


def parse_scalar(field: FieldMeta, text: str) -> Any:
    """Read a value of a field from `str(value)`; None when it is none."""
    if field.kind is FieldKind.STR:
        return text if _storable(text) else None
    if field.kind is FieldKind.LITERAL:
        return next((choice for choice in field.choices if str(choice) == text), None)
    if field.kind not in _READABLE:
        return None
    try:
        value = field.python_type(text)
    except ValueError:
        return None
    # No store has a larger number, and some refuse to look for one.
    return value if field.kind is FieldKind.UUID or -_INT64 <= value < _INT64 else None


def _storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def own_id(field: FieldMeta, ctx: AuthContext) -> Any:
    """The caller's `user_id` as a field holds it; None when it holds no such value."""
    if not ctx.user_id:
        return None
    mine = parse_scalar(field, ctx.user_id)
    return mine if str(mine) == ctx.user_id else None


class RoleBasedAuthorizer(BaseAuthorizer):
    """Permits what the caller's roles permit, on every entity or on those of some resources.

    Args:
        role_permissions: What each role may do: actions, on every entity, or the actions by the
            resources (`"posts"`) whose entities they are for, `"*"` being the others.
    """

    def __init__(
        self, role_permissions: Mapping[str, Iterable[Action] | Mapping[str, Iterable[Action]]]
    ) -> None:
        self._permissions = {
            role: {name: frozenset(map(Action, acts)) for name, acts in _by_resource(may).items()}
            for role, may in role_permissions.items()
        }

    def decide(self, ctx: AuthContext, action: Action, resource: Resource) -> bool | None:
        """Look for a role with the action."""
        return self._permits(ctx, action, resource.entity_type) or None

    def compile(
        self, ctx: AuthContext, action: Action, entity_type: type[DomainModel]
    ) -> TransformerNode | None:
        """All rows or none."""
        return _ALL_ROWS if self._permits(ctx, action, entity_type) else _NO_ROWS

    def _permits(self, ctx: AuthContext, action: Action, entity_type: type[DomainModel]) -> bool:
        for role in ctx.roles:
            may = self._permissions.get(role)
            if may and action in may.get(resource_key(entity_type), may.get(EVERY_RESOURCE, ())):
                return True
        return False


def _by_resource(
    may: Iterable[Action] | Mapping[str, Iterable[Action]],
) -> Mapping[str, Iterable[Action]]:
    if isinstance(may, Mapping):
        return cast("Mapping[str, Iterable[Action]]", may)
    return {EVERY_RESOURCE: may}


class OwnershipAuthorizer(BaseAuthorizer):
    """Permits everything on what the caller owns; someone unknown owns nothing.

    Args:
        owner_field: The field that holds the `user_id` of the owner, as str, int or UUID.
    """

    def __init__(self, owner_field: str = "owner_id") -> None:
        self._owner_field = owner_field

    def decide(self, ctx: AuthContext, action: Action, resource: Resource) -> bool | None:
        """Compare the entity's owner with the caller."""
        del action
        field = MetaReader.read(resource.entity_type).fields.get(self._owner_field)
        if field is None or resource.entity is None:
            return None
        mine = own_id(field, ctx)
        if mine is None:
            return None
        return bool(getattr(resource.entity, self._owner_field) == mine) or None

    def compile(
        self, ctx: AuthContext, action: Action, entity_type: type[DomainModel]
    ) -> TransformerNode | None:
        """The caller's rows."""
        del action
        field = MetaReader.read(entity_type).fields.get(self._owner_field)
        mine = None if field is None else own_id(field, ctx)
        if mine is None:
            return _NO_ROWS
        return ComparisonNode(self._owner_field, Operation.EQUAL, mine)


class AllOf(AbstractAuthorizer):
    """Permits what all of several authorizers permit; of none, nothing."""

    def __init__(self, *authorizers: AbstractAuthorizer) -> None:
        self._authorizers = authorizers

    async def authorize(self, ctx: AuthContext, action: Action, resource: Resource) -> None:
        """Ask all; the first refusal counts."""
        if not self._authorizers:
            raise refusal(action, resource, "empty AllOf")
        for authorizer in self._authorizers:
            await ask(authorizer, ctx, action, resource)

    def compile(
        self, ctx: AuthContext, action: Action, entity_type: type[DomainModel]
    ) -> TransformerNode | None:
        """The rows that all permit."""
        nodes = _compiled(self._authorizers, ctx, action, entity_type)
        if nodes is None:
            return None
        return AndNode(*nodes) if nodes else _NO_ROWS


class AnyOf(AbstractAuthorizer):
    """Permits what one of several authorizers permits."""

    def __init__(self, *authorizers: AbstractAuthorizer) -> None:
        self._authorizers = authorizers

    async def authorize(self, ctx: AuthContext, action: Action, resource: Resource) -> None:
        """Ask until one permits."""
        refused: ServiceAuthorizationError | None = None
        for authorizer in self._authorizers:
            try:
                await ask(authorizer, ctx, action, resource)
            except ServiceAuthorizationError as error:
                refused = error
            else:
                return
        raise refused or refusal(action, resource, "empty AnyOf")

    def compile(
        self, ctx: AuthContext, action: Action, entity_type: type[DomainModel]
    ) -> TransformerNode | None:
        """The rows that one permits."""
        nodes = _compiled(self._authorizers, ctx, action, entity_type)
        return None if nodes is None else OrNode(*nodes)


def _compiled(
    authorizers: Iterable[AbstractAuthorizer],
    ctx: AuthContext,
    action: Action,
    entity_type: type[DomainModel],
) -> list[TransformerNode] | None:
    nodes: list[TransformerNode] = []
    for authorizer in authorizers:
        node = condition_for(authorizer, ctx, action, entity_type)
        if node is None:
            return None
        nodes.append(node)
    return nodes
