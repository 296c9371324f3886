"""The operations that read."""

from typing import Any

from pydantic import TypeAdapter

from varco_domain.dto import PageCursor
from varco_http._body import check_media_type, check_no_query, check_size, read_json
from varco_http._errors import Fault, UnknownParameterError
from varco_http._links import page_links
from varco_http._message import HttpRequest, HttpResponse
from varco_http._query import ListQuery, Place, SearchBody, in_body, in_query, placed
from varco_http._reach import check_conditions, check_parents, current, is_unchanged
from varco_http._spec import REVALIDATE, Spec
from varco_http._verb import ServiceOf
from varco_query import AndNode, ComparisonNode, CursorError, Operation

_JSON = ("content-type", "application/json")
_SEARCH: TypeAdapter[SearchBody] = TypeAdapter(SearchBody)


async def list_rows(spec: Spec, request: HttpRequest, services: ServiceOf) -> HttpResponse:
    """Answer with the page that the query parameters ask for."""
    query = spec.reader.read(request.query)
    page = await _page(spec, request, services, query, in_query)
    links = page_links(
        request.target,
        request.query,
        following=_cursor(page.next),
        previous=_cursor(page.previous),
        first=query.params.cursor is not None,
    )
    headers = (_JSON, REVALIDATE) if links is None else (_JSON, REVALIDATE, ("link", links))
    return HttpResponse(200, headers, _body(spec, page, query))


async def search_rows(spec: Spec, request: HttpRequest, services: ServiceOf) -> HttpResponse:
    """Answer with the page that a body asks for; where it goes on stands in the body."""
    check_no_query(request)
    check_size(request, spec.max_body)
    check_media_type(request)
    query = spec.reader.read_body(read_json(_SEARCH, request.body))
    page = await _page(spec, request, services, query, in_body)
    return HttpResponse(200, (_JSON,), _body(spec, page, query))


async def get_row(spec: Spec, request: HttpRequest, services: ServiceOf) -> HttpResponse:
    """Answer with one row, or say that the client has it already."""
    fields = _only_fields(spec, request)
    pk = spec.key(request.path_params)
    service = services(spec.service)
    if spec.parent is not None:
        await check_parents(spec, request, services)
    dto = await current(spec, request, service, pk)
    tag = spec.tag(dto)
    match = request.headers.get("if-match")
    if match is not None:
        check_conditions(match, None, tag)
    none_match = request.headers.get("if-none-match")
    if none_match is not None and tag is not None and is_unchanged(none_match, tag):
        return HttpResponse(304, (("etag", f'"{tag}"'), REVALIDATE))
    return spec.respond(dto, 200, (REVALIDATE,), fields)


async def _page(
    spec: Spec, request: HttpRequest, services: ServiceOf, query: ListQuery, place: Place
) -> Any:
    params = query.params
    if spec.parent is not None:
        await check_parents(spec, request, services)
        owner = ComparisonNode(str(spec.parent_field), Operation.EQUAL, spec.parent_key(request))
        node = owner if params.node is None else AndNode(owner, params.node)
        params = type(params)(node, params.sort, params.limit, params.offset, params.cursor)
    service = services(spec.service)
    try:
        return await service.paged_list(params, request.ctx, total=query.total)
    except CursorError as error:
        raise placed(error, "cursor", place) from None


def _body(spec: Spec, page: Any, query: ListQuery) -> bytes:
    include: Any = None if query.fields is None else {"__all__": set(query.fields)}
    rows = spec.items.serializer.to_json(page.results, include=include, by_alias=True)
    total = b"" if page.total_count is None else b',"total_count":%d' % page.total_count
    return b'{"results":%b,"count":%d%b,"next":%b,"previous":%b}' % (
        rows,
        page.count,
        total,
        _other(page.next),
        _other(page.previous),
    )


def _other(page: PageCursor | None) -> bytes:
    # A cursor is made of letters, digits, "-", "_" and "~" alone.
    if page is None:
        return b"null"
    return b'{"limit":%d,"cursor":"%b"}' % (page.limit, str(page.cursor).encode("ascii"))


def _cursor(page: PageCursor | None) -> str | None:
    return None if page is None else page.cursor


def _only_fields(spec: Spec, request: HttpRequest) -> frozenset[str] | None:
    if not request.query or not spec.reader.fields:
        check_no_query(request)
        return None
    for name, _ in request.query:
        if name != "fields":
            message = f"unknown parameter {name[:60]!r} (the parameters are fields)"
            raise UnknownParameterError(message, errors=[Fault(message, parameter=name[:60])])
    return spec.reader.read(request.query).fields
