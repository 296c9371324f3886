"""What the cached reads of a service are kept under; needs varco-domain.

A key holds everything the answer depends on: the tenant, the condition of the rows that the
caller may see, and the arguments. The condition is worked out anew for every read, by the
authorizer and the mixins of the service: that is the authorization of a hit. Where a class of the
service has a way of its own to read, which a hit leaves out, the caller is part of the key as well.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from varco_cache._canonical import canonical
from varco_cache._errors import CacheKeyError
from varco_domain.meta import MetaReader
from varco_domain.observe import unobserved
from varco_domain.service.base import AsyncService
from varco_domain.service.tenant import current_tenant
from varco_query import QueryParams, TransformerNode, optimize
from varco_query.compile import fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from varco_domain.auth import AuthContext
    from varco_domain.service.base import EntityChange

_SERVICE: Any = AsyncService
_PLAIN_READS = frozenset[object](
    map(unobserved, (_SERVICE.get, _SERVICE.list, _SERVICE.paged_list))
)


@dataclass(frozen=True, slots=True)
class ReadKey:
    """Where the answer of a read is kept, and the tags that a write to its rows invalidates."""

    key: str
    tags: frozenset[str]


def reads_in_its_own_way(service: AsyncService[Any, Any, Any, Any, Any], read: object) -> bool:
    """Whether a service takes part in a read that a hit leaves out.

    Args:
        service: The service.
        read: The `get` or `list` that a hit does not call.
    """
    return service.has_own_reads() or unobserved(read) not in _PLAIN_READS


def row_key(
    service: Any, namespace: str, pk: Any, ctx: AuthContext, *, personal: bool
) -> ReadKey | None:
    """For `get`; None when the answer cannot be kept. `personal` makes the caller a part of it.

    Raises what the service raises for a caller it does not serve.
    """
    declared = None if service.types is None else service.types.pk
    if isinstance(declared, type) and type(pk) is not declared:
        return None  # another spelling of a key would escape the tag of its row
    return _key(service, namespace, "get", ctx, pk, f"row:{pk}", personal=personal)


def list_key(
    service: Any,
    namespace: str,
    params: QueryParams,
    ctx: AuthContext,
    *,
    personal: bool,
    operation: str = "list",
) -> ReadKey | None:
    """For `list`, or another `operation` that answers with several rows; likewise."""
    return _key(service, namespace, operation, ctx, params, "lists", personal=personal)


def tags_of(namespace: str, changes: Sequence[EntityChange]) -> frozenset[str]:
    """What changes of rows invalidate: those rows, and every list of their tenants."""
    tags: set[str] = set()
    for change in changes:
        tenants = {change.tenant_id or ""}
        for entity in (change.before, change.after):
            tenants.add(getattr(entity, "tenant_id", None) or "")
        for tenant in tenants:
            tags |= {f"{namespace}|{tenant}|lists", f"{namespace}|{tenant}|row:{change.pk}"}
    return frozenset(tags)


def _key(
    service: Any,
    namespace: str,
    operation: str,
    ctx: AuthContext,
    argument: Any,
    what: str,
    *,
    personal: bool,
) -> ReadKey | None:
    where, by_row = service.visibility(ctx)  # the authorization of every read
    if by_row:
        return None  # who may read is asked about each row; no condition stands for the answer
    tenant = current_tenant()
    tenanted = MetaReader.read(service.types.entity_cls).tenant_field is not None
    if tenanted and tenant is None:
        return None  # the rows of all tenants are nobody's to keep
    try:
        seen = "*" if where is None else _text(where)
        asked = (
            _params(argument) if isinstance(argument, QueryParams) else canonical("pk", argument)
        )
        caller = canonical("ctx", ctx) if personal else ""
    except CacheKeyError:
        return None
    whole = f"{seen}\n{asked}\n{caller}"
    digest = hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=20)
    owner = tenant or ""
    key = f"{namespace}|{len(owner)}:{owner}|{operation}|{digest.hexdigest()}"
    return ReadKey(key, frozenset({f"{namespace}|{owner if tenanted else ''}|{what}"}))


def _params(params: QueryParams) -> str:
    node = "*" if params.node is None else _text(params.node)
    sort = [(one.field, str(one.order)) for one in params.sort]
    return repr((node, sort, params.limit, params.offset, params.cursor))


def _text(node: TransformerNode) -> str:
    """The text of what the filter means: of two that are said in different ways, the same."""
    return fold(
        optimize(node),
        lambda one, negated: (
            f"({'NOT ' * negated}{one.field!r} {one.op} {canonical('value', one.value)})"
        ),
        lambda kind, parts: f"{kind.__name__}[{','.join(parts)}]",
    )
