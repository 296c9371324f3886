"""Reaching a row: through its parents, at the version that the request expects."""

from typing import Any, cast

from varco_domain.exception import ServiceNotFoundError
from varco_http._errors import Fault, PreconditionFailedError, PreconditionRequiredError
from varco_http._etag import parse_entity_tags, version_of
from varco_http._message import HttpRequest
from varco_http._spec import Spec
from varco_http._verb import ServiceOf


async def check_parents(spec: Spec, request: HttpRequest, services: ServiceOf) -> None:
    """Check that the caller sees all that the resource is nested in.

    Raises:
        ServiceNotFoundError: One of the parents is not there, or is not the next one's.
    """
    while spec.parent is not None:
        parent, key = spec.parent, spec.parent_key(request)
        service = services(parent.service)
        if parent.parent is None:
            if not await service.exists(key, request.ctx):
                raise ServiceNotFoundError(key, parent.meta.entity_cls)
        else:
            check_belongs(parent, request, key, await service.get(key, request.ctx))
        spec = parent


def check_belongs(spec: Spec, request: HttpRequest, pk: Any, dto: Any) -> None:
    """Check that a row is one of the parent in the path.

    Raises:
        ServiceNotFoundError: It is another's.
    """
    if spec.parent is not None:
        owner = getattr(dto, cast("str", spec.parent_field))
        if owner != spec.parent_key(request):
            raise ServiceNotFoundError(pk, spec.meta.entity_cls)


async def current(spec: Spec, request: HttpRequest, service: Any, pk: Any) -> Any:
    """The row with a key, as the caller sees it.

    Raises:
        ServiceNotFoundError: There is none that the caller sees under this path.
    """
    dto = await service.get(pk, request.ctx)
    check_belongs(spec, request, pk, dto)
    return dto


async def expected_version(
    spec: Spec, request: HttpRequest, services: ServiceOf, service: Any, pk: Any
) -> int | None:
    """The version that a write has to find (RFC 9110, section 13); None for any.

    Raises:
        PreconditionRequiredError: The resource demands `If-Match`, and there is none.
        PreconditionFailedError: The row is not what the headers demand.
        ServiceNotFoundError: There is none that the caller sees under this path.
    """
    match = request.headers.get("if-match")
    none_match = request.headers.get("if-none-match")
    if match is None and spec.require_if_match:
        raise PreconditionRequiredError(
            "the request has to say in If-Match which version it changes: the ETag of a GET",
            errors=[Fault("is missing", header="if-match")],
        )
    if spec.parent is not None:
        await check_parents(spec, request, services)
    elif none_match is None:
        if match is None or match == "*":
            return None
        known = _only_version(spec, match, pk)
        if known is not None:
            return known
    dto = await current(spec, request, service, pk)
    check_conditions(match, none_match, spec.tag(dto))
    return spec.version(dto) if match or none_match else None


def check_conditions(match: str | None, none_match: str | None, tag: str | None) -> None:
    """Check the preconditions of a write on a row that exists.

    Raises:
        PreconditionFailedError: The row is not what the headers demand.
        InvalidRequestError: A header is no list of tags.
    """
    if match is not None:
        tags = parse_entity_tags(match)
        if not tags.any and (tag is None or not tags.match_strongly(tag)):
            raise changed("if-match")
    if none_match is not None:
        tags = parse_entity_tags(none_match, "If-None-Match")
        if tags.any or (tag is not None and tags.match_weakly(tag)):
            raise changed("if-none-match")


def is_unchanged(none_match: str, tag: str) -> bool:
    """Tell whether a client has what it asks for already.

    Raises:
        InvalidRequestError: The header is no list of tags.
    """
    if none_match == f'"{tag}"':
        return True
    return parse_entity_tags(none_match, "If-None-Match").match_weakly(tag)


def changed(header: str) -> PreconditionFailedError:
    """The error of a precondition that does not hold."""
    return PreconditionFailedError(
        "what is stored is not what the request expects; read it again and decide anew",
        errors=[Fault("does not hold", header=header)],
    )


def _only_version(spec: Spec, match: str, pk: Any) -> int | None:
    """The version in a list that can be this row's, when there is one such."""
    if spec.version_field is None:
        return None
    tags = parse_entity_tags(match)
    versions = {version_of(each.tag, pk) for each in tags.tags if not each.weak} - {None}
    return versions.pop() if len(versions) == 1 else None
