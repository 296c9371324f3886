"""What HTTP means for a service of varco-domain, without a web framework.

A name is loaded when it is first used.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from varco_http._application import HttpApplication, Part
    from varco_http._asgi import RequestContext, current_request_id
    from varco_http._callers import ApiKeys, BearerTokens, Caller, Callers, Scheme, TokenVerifier
    from varco_http._endpoint import Endpoint
    from varco_http._errors import (
        BodyTooLargeError,
        Fault,
        HttpConfigError,
        HttpError,
        IdempotencyInFlightError,
        IdempotencyMismatchError,
        InvalidBodyError,
        InvalidRequestError,
        MediaTypeError,
        PreconditionFailedError,
        PreconditionRequiredError,
        TenantRefusedError,
        UnauthenticatedError,
        UnknownParameterError,
    )
    from varco_http._etag import (
        EntityTag,
        EntityTags,
        entity_tag,
        parse_entity_tags,
        version_of,
    )
    from varco_http._health import CheckedPart, Health
    from varco_http._idempotency import Idempotency, IdempotencyRecord
    from varco_http._links import page_link, page_links
    from varco_http._merge import merge_patch
    from varco_http._message import (
        HttpRequest,
        HttpResponse,
        asgi_request,
        parse_headers,
        parse_query,
    )
    from varco_http._openapi import extend_openapi, openapi_document
    from varco_http._problem import (
        body_fault,
        pointer_of,
        problem_of,
        problem_response,
        status_response,
    )
    from varco_http._query import ListQuery, QueryReader, SearchBody, query_schema_of
    from varco_http._resource import HttpResource, ResourceOptions
    from varco_http._tenants import TenantFromClaim, TenantFromHeader, TenantFromHost, TenantOf
    from varco_http._verb import Handler, HttpAction, ServiceOf, Verb
else:
    from varco_http._names import load

    def __getattr__(name: str) -> object:
        """Load a name when it is first used."""
        return globals().setdefault(name, load(name))


__all__: tuple[str, ...] = (
    "ApiKeys",
    "BearerTokens",
    "BodyTooLargeError",
    "Caller",
    "Callers",
    "CheckedPart",
    "Endpoint",
    "EntityTag",
    "EntityTags",
    "Fault",
    "Handler",
    "Health",
    "HttpAction",
    "HttpApplication",
    "HttpConfigError",
    "HttpError",
    "HttpRequest",
    "HttpResource",
    "HttpResponse",
    "Idempotency",
    "IdempotencyInFlightError",
    "IdempotencyMismatchError",
    "IdempotencyRecord",
    "InvalidBodyError",
    "InvalidRequestError",
    "ListQuery",
    "MediaTypeError",
    "Part",
    "PreconditionFailedError",
    "PreconditionRequiredError",
    "QueryReader",
    "RequestContext",
    "ResourceOptions",
    "Scheme",
    "SearchBody",
    "ServiceOf",
    "TenantFromClaim",
    "TenantFromHeader",
    "TenantFromHost",
    "TenantOf",
    "TenantRefusedError",
    "TokenVerifier",
    "UnauthenticatedError",
    "UnknownParameterError",
    "Verb",
    "asgi_request",
    "body_fault",
    "current_request_id",
    "entity_tag",
    "extend_openapi",
    "merge_patch",
    "openapi_document",
    "page_link",
    "page_links",
    "parse_entity_tags",
    "parse_headers",
    "parse_query",
    "pointer_of",
    "problem_of",
    "problem_response",
    "query_schema_of",
    "status_response",
    "version_of",
)
