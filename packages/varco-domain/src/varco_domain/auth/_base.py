"""Who acts, on what, and the question whether they may."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Final

from varco_domain.exception import ServiceAuthorizationError
from varco_domain.meta import MetaReader
from varco_domain.model import DomainModel
from varco_query import TransformerNode


class Action(StrEnum):
    """What can be done.

    READ alone decides which rows a list holds; LIST is for endpoints of your own.
    """

    CREATE = "create"
    READ = "read"
    UPDATE = "update"
    DELETE = "delete"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class ResourceGrant:
    """Permits actions on a resource.

    A resource is a model's (`"posts"`), one row of it (`"posts:42"`), or `"*"`: every one.
    """

    resource: str
    actions: frozenset[Action]

    def __post_init__(self) -> None:
        object.__setattr__(self, "actions", frozenset(map(Action, _items(self.actions, "actions"))))


@dataclass(frozen=True, slots=True)
class AuthContext:
    """Who acts: nobody known (the default), or a user with roles, scopes and grants."""

    user_id: str | None = None
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    grants: tuple[ResourceGrant, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict[str, Any], hash=False)

    def __post_init__(self) -> None:
        for name in ("roles", "scopes"):
            value = getattr(self, name)
            if value.__class__ is not frozenset:
                object.__setattr__(self, name, frozenset(_items(value, name)))
        if self.grants.__class__ is not tuple:
            object.__setattr__(self, "grants", tuple(self.grants))

    def is_anonymous(self) -> bool:
        """Whether the user is not known; an empty name is nobody's."""
        return not self.user_id

    def has_role(self, role: str) -> bool:
        """Whether the user has the role."""
        return role in self.roles

    def has_scope(self, scope: str) -> bool:
        """Whether the user has the scope."""
        return scope in self.scopes

    def can(self, action: Action, resource_key: str) -> bool:
        """Whether a grant permits the action; one on a model covers its rows, and "*" all."""
        for grant in self.grants:
            if action in grant.actions and (
                grant.resource == resource_key or grant.resource in _wider(resource_key)
            ):
                return True
        return False

    def grants_for(self, resource_key: str) -> frozenset[Action]:
        """The actions that grants permit on the table or row."""
        return frozenset(action for action in Action if self.can(action, resource_key))


ANONYMOUS: Final = AuthContext()
"""The caller of whom nothing is known: no user, no roles, no grants."""
EVERY_RESOURCE: Final = "*"


def _wider(resource_key: str) -> tuple[str, str]:
    """What covers a resource: of a row its model, and everything."""
    return resource_key.partition(":")[0], EVERY_RESOURCE


def _items(value: Any, name: str) -> Iterable[Any]:
    if isinstance(value, str):
        raise TypeError(f"{name} is a collection of strings, not the string {value!r}")
    items: Iterable[Any] = value
    return items


@dataclass(frozen=True, slots=True)
class Resource:
    """What is acted on: a kind of entity, or one entity."""

    entity_type: type[DomainModel]
    entity: DomainModel | None = None

    @property
    def is_collection(self) -> bool:
        """Whether no single entity is meant."""
        return self.entity is None

    @property
    def key(self) -> str:
        """The name that grants use: the model's, or `name:key` of a stored entity."""
        return resource_key(self.entity_type, None if self.entity is None else self.entity.pk)


def resource_key(entity_type: type[DomainModel], pk: Any = None) -> str:
    """The name of a model or of one row in grants; parts of a composite key are escaped.

    The model's is its `Meta.resource`, or its table.
    """
    meta = MetaReader.read(entity_type)
    if pk is None:
        return meta.resource
    if not meta.is_composite_pk:
        return f"{meta.resource}:{pk}"
    if None in pk:
        return meta.resource
    parts = (str(part).replace("%", "%25").replace(":", "%3A") for part in pk)
    return f"{meta.resource}:{':'.join(parts)}"


class AbstractAuthorizer(ABC):
    """Decides who may do what. Safe to use from several tasks: it keeps no state of a call.

    A subclass that changes the decision, itself or through a mixin, has to change `compile` with
    it; one that does not loses the inherited `compile`, and its rows are decided one by one.
    """

    __varco_decisions__: ClassVar[tuple[object, object]] = (None, None)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.__varco_decisions__ = (cls.authorize, getattr(cls, "decide", None))
        decided = min(_place(cls, "authorize"), _place(cls, "decide"))
        if decided < _place(cls, "compile"):
            cls.compile = AbstractAuthorizer.compile  # type: ignore[method-assign] # see the docstring

    @abstractmethod
    async def authorize(self, ctx: AuthContext, action: Action, resource: Resource) -> None:
        """Return if permitted.

        Raises:
            ServiceAuthorizationError: It is not.
        """

    def compile(
        self, ctx: AuthContext, action: Action, entity_type: type[DomainModel]
    ) -> TransformerNode | None:
        """A condition that holds for exactly the stored rows that `authorize` permits.

        None means that there is none, and each row has to be asked about.
        """
        del ctx, action, entity_type
        return None


def _place(cls: type, name: str) -> int:
    """Which class in the order of look-up defines a name; the last one if none does."""
    found = (place for place, base in enumerate(cls.__mro__) if name in base.__dict__)
    return next(found, len(cls.__mro__))


async def ask(
    authorizer: AbstractAuthorizer, ctx: AuthContext, action: Action, resource: Resource
) -> None:
    """Return if an authorizer permits; one that returns False in place of raising does not.

    Raises:
        ServiceAuthorizationError: It does not permit.
    """
    asked: Any = authorizer
    try:
        permitted: object = await asked.authorize(ctx, action, resource)
    except ServiceAuthorizationError as error:
        if error.resource is None:
            error.resource = resource.key
        raise
    if permitted is False:
        raise refusal(action, resource, f"{type(authorizer).__name__} returned False")


async def permits(authorizer: AbstractAuthorizer, ctx: AuthContext, entity: DomainModel) -> bool:
    """Tell whether an authorizer lets the caller read an entity."""
    try:
        await ask(authorizer, ctx, Action.READ, Resource(type(entity), entity))
    except ServiceAuthorizationError:
        return False
    return True


def refusal(action: Action, resource: Resource, reason: str) -> ServiceAuthorizationError:
    """The error of a refused action, which names what a grant would have to."""
    return ServiceAuthorizationError(
        action.value, resource.entity_type, reason=reason, resource=resource.key
    )


def condition_for(
    authorizer: AbstractAuthorizer, ctx: AuthContext, action: Action, entity_type: type[DomainModel]
) -> TransformerNode | None:
    """The condition of the rows that an authorizer permits; None to ask about each.

    Each is asked about, too, where a decision was patched or set since its class was made: the
    condition says the decision that the class has.
    """
    kind = type(authorizer)
    try:
        decisions, own = kind.__varco_decisions__, authorizer.__dict__
    except AttributeError:
        return None  # no authorizer of ours, a test's double perhaps
    if kind.authorize is not decisions[0] or getattr(kind, "decide", None) is not decisions[1]:
        return None
    if own and ("authorize" in own or "decide" in own):
        return None
    node: object = authorizer.compile(ctx, action, entity_type)
    return node if isinstance(node, TransformerNode) else None


class BaseAuthorizer(AbstractAuthorizer):
    """Base of authorizers that decide at once; without a decision, the answer is no."""

    async def authorize(self, ctx: AuthContext, action: Action, resource: Resource) -> None:
        """Return if `decide` says True.

        Raises:
            ServiceAuthorizationError: It says False, or nothing.
        """
        if self.decide(ctx, action, resource) is not True:
            raise refusal(action, resource, f"{type(self).__name__} does not permit it")

    def decide(self, ctx: AuthContext, action: Action, resource: Resource) -> bool | None:
        """Whether it is permitted; None is no decision."""
        del ctx, action, resource
        return None
