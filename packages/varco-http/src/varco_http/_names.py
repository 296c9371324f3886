"""Where each public name is defined."""

from importlib import import_module

_MODULES: dict[str, tuple[str, ...]] = {
    "_application": (
        "HttpApplication",
        "Part",
    ),
    "_asgi": (
        "RequestContext",
        "current_request_id",
    ),
    "_callers": (
        "ApiKeys",
        "BearerTokens",
        "Caller",
        "Callers",
        "Scheme",
        "TokenVerifier",
    ),
    "_endpoint": ("Endpoint",),
    "_errors": (
        "BodyTooLargeError",
        "Fault",
        "HttpConfigError",
        "HttpError",
        "IdempotencyInFlightError",
        "IdempotencyMismatchError",
        "InvalidBodyError",
        "InvalidRequestError",
        "MediaTypeError",
        "PreconditionFailedError",
        "PreconditionRequiredError",
        "TenantRefusedError",
        "UnauthenticatedError",
        "UnknownParameterError",
    ),
    "_etag": (
        "EntityTag",
        "EntityTags",
        "entity_tag",
        "parse_entity_tags",
        "version_of",
    ),
    "_health": (
        "CheckedPart",
        "Health",
    ),
    "_idempotency": (
        "Idempotency",
        "IdempotencyRecord",
    ),
    "_links": (
        "page_link",
        "page_links",
    ),
    "_merge": ("merge_patch",),
    "_message": (
        "HttpRequest",
        "HttpResponse",
        "asgi_request",
        "parse_headers",
        "parse_query",
    ),
    "_openapi": (
        "extend_openapi",
        "openapi_document",
    ),
    "_problem": (
        "body_fault",
        "pointer_of",
        "problem_of",
        "problem_response",
        "status_response",
    ),
    "_query": (
        "ListQuery",
        "QueryReader",
        "SearchBody",
        "query_schema_of",
    ),
    "_resource": (
        "HttpResource",
        "ResourceOptions",
    ),
    "_tenants": (
        "TenantFromClaim",
        "TenantFromHeader",
        "TenantFromHost",
        "TenantOf",
    ),
    "_verb": (
        "Handler",
        "HttpAction",
        "ServiceOf",
        "Verb",
    ),
}
_WHERE = {name: module for module, names in _MODULES.items() for name in names}


def load(name: str) -> object:
    """The value of a public name.

    Raises:
        AttributeError: There is no such name.
    """
    module = _WHERE.get(name)
    if module is None:
        raise AttributeError(f"module 'varco_http' has no attribute {name!r}")
    return getattr(import_module(f"varco_http.{module}"), name)
