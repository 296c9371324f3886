"""What the isolation machine knows: rows, users, and what the policy says, written down again."""

from dataclasses import dataclass
from typing import Any, cast

from hypothesis import strategies as st

from varco_domain.auth import Action, AuthContext, ResourceGrant
from varco_query import AndNode, ComparisonNode, Operation, OrNode, TransformerNode


@dataclass(slots=True)
class Known:
    """What the oracle knows about a row."""

    tenant: str
    title: str
    owner: str | None
    rank: int | None
    slug: str | None
    deleted: bool = False
    version: int = 1


ALL = frozenset(Action)
EDIT = frozenset({Action.CREATE, Action.READ, Action.UPDATE})
# What stands in the titles of each tenant's documents, and in nothing that others get to see.
SECRETS = {"a": "#1#", "b": "#2#", "c": "#3#"}
TENANTS = tuple(SECRETS)
USERS: dict[str, AuthContext] = {
    "admin": AuthContext("admin", grants=(ResourceGrant("contract_documents", ALL),)),
    "editor": AuthContext("editor", grants=(ResourceGrant("contract_documents", EDIT),)),
    "owner": AuthContext("owner"),
    "other": AuthContext("other"),
    "guest": AuthContext(
        "guest",
        grants=(
            ResourceGrant("contract_documents:1", frozenset({Action.READ})),
            ResourceGrant("contract_documents:2", ALL),
            ResourceGrant("contract_documents:4", frozenset({Action.READ, Action.UPDATE})),
            ResourceGrant("contract_documents:03", ALL),
            ResourceGrant("contract_documents:x", ALL),
        ),
    ),
    "anonymous": AuthContext(),
}

tenants = st.sampled_from(TENANTS)
users = st.sampled_from(sorted(USERS))
picks = st.integers(0, 30)
ranks = st.one_of(st.none(), st.integers(-3, 3))
owners = st.sampled_from([None, "owner", "other", "admin", "None", ""])
slugs = st.sampled_from([None, "s", "t"])
titles = st.text("abc%_", max_size=4)
_simple = st.one_of(
    st.builds(
        ComparisonNode,
        st.just("rank"),
        st.sampled_from([Operation.EQUAL, Operation.NOT_EQUAL, Operation.GREATER_THAN]),
        st.integers(-3, 3),
    ),
    st.builds(ComparisonNode, st.just("title"), st.just(Operation.CONTAINS), st.just("a")),
    st.builds(ComparisonNode, st.just("tenant_id"), st.just(Operation.EQUAL), tenants),
    st.builds(
        ComparisonNode,
        st.just("deleted_at"),
        st.sampled_from([Operation.IS_NULL, Operation.IS_NOT_NULL]),
    ),
)
_several = st.lists(_simple, min_size=1, max_size=2)
filters: st.SearchStrategy[TransformerNode | None] = st.one_of(
    st.none(),
    _simple,
    _several.map(lambda nodes: AndNode(*nodes)),
    _several.map(lambda nodes: OrNode(*nodes)),
)


def allowed(user: str, action: Action, pk: int | None, owner: str | None) -> bool:
    """What the policy says, written down a second time and differently."""
    if user == "admin":
        return True
    if user == "editor" and action in EDIT:
        return True
    if user == "guest" and pk is not None:
        rights = {1: {Action.READ}, 2: set(ALL), 4: {Action.READ, Action.UPDATE}}
        if action in rights.get(pk, set[Action]()):
            return True
    return user != "anonymous" and owner == user


def matches(node: TransformerNode | None, row: Known) -> bool:
    """Evaluate one of the `filters` by hand."""
    if node is None:
        return True
    if isinstance(node, (AndNode, OrNode)):
        found = [matches(child, row) for child in node.children]
        return all(found) if isinstance(node, AndNode) else any(found)
    node = cast("ComparisonNode", node)
    value: Any = {
        "rank": row.rank,
        "title": row.title,
        "tenant_id": row.tenant,
        "deleted_at": row.deleted or None,
    }[node.field]
    match node.op:
        case Operation.IS_NULL:
            return value is None
        case Operation.IS_NOT_NULL:
            return value is not None
        case Operation.CONTAINS:
            return str(node.value) in value
        case _ if value is None:
            return False
        case Operation.EQUAL:
            return bool(value == node.value)
        case Operation.NOT_EQUAL:
            return bool(value != node.value)
        case _:
            return bool(value > node.value)
