"""The OpenAPI 3.1 document of resources: it says what the wire does."""

from collections.abc import Container, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, cast

from pydantic import TypeAdapter

from varco_domain.exception import PROBLEM_MEDIA_TYPE
from varco_http._describe import fields_parameter, list_parameters, search_schema
from varco_http._endpoint import Endpoint
from varco_http._message import JSON, MERGE_PATCH
from varco_http._resource import HttpResource
from varco_http._verb import Verb

_REF: Final = "#/components/schemas/"
_SUMMARIES: Final = {
    Verb.LIST: "List {}",
    Verb.SEARCH: "List {} by a filter of any length",
    Verb.QUERY: "List {} by a filter of any length",
    Verb.CREATE: "Create one of {}",
    Verb.GET: "Show one of {}",
    Verb.REPLACE: "Replace one of {}",
    Verb.PATCH: "Change fields of one of {}",
    Verb.DELETE: "Delete one of {}",
    Verb.RESTORE: "Restore one of {}",
}
_WRITES_BODY: Final = {Verb.CREATE, Verb.REPLACE, Verb.PATCH, Verb.SEARCH}
_TEXT: Final = {"schema": {"type": "string"}}
PROBLEM_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "description": "Problem details (RFC 9457).",
    "required": ["type", "title", "status", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "code": {"type": "string", "description": "What went wrong, for programs."},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["message"],
                "properties": {
                    "message": {"type": "string"},
                    "pointer": {"type": "string", "description": "A JSON pointer into the body."},
                    "parameter": {"type": "string"},
                    "header": {"type": "string"},
                },
            },
        },
    },
}
_PAGE_END: Final = {
    "type": ["object", "null"],
    "required": ["limit", "cursor"],
    "properties": {"limit": {"type": "integer"}, "cursor": {"type": "string"}},
}


def openapi_document(
    resources: Iterable[HttpResource],
    *,
    title: str,
    version: str,
    schemes: Mapping[str, Mapping[str, Any]] | None = None,
    description: str = "",
) -> dict[str, Any]:
    """The OpenAPI 3.1 document of resources.

    Args:
        resources: The resources.
        title: The name of the application.
        version: Its version.
        schemes: The security schemes by name, any one of which will do (`Callers.schemes`).
        description: What it is, as Markdown.
    """
    info = {"title": title, "version": version}
    if description:
        info["description"] = description
    return extend_openapi({"openapi": "3.1.0", "info": info}, resources, schemes=schemes)


def extend_openapi(
    document: dict[str, Any],
    resources: Iterable[HttpResource],
    *,
    schemes: Mapping[str, Mapping[str, Any]] | None = None,
    prefix: str = "",
) -> dict[str, Any]:
    """Add resources to an OpenAPI 3.1 document, that of a framework say, and return it.

    Operations of the same path and method take the place of those in the document. A schema or an
    operation whose name another one has there already gets a new name.

    Args:
        document: It is changed.
        resources: The resources.
        schemes: The security schemes by name, any one of which will do.
        prefix: What the resources are mounted under.
    """
    listed = list(resources)
    endpoints = [each for r in listed for each in r.endpoints if each.in_openapi]
    schemas = _Schemas(endpoints)
    components: dict[str, Any] = document.setdefault("components", {})
    known_schemas: dict[str, Any] = components.setdefault("schemas", {})
    paths: dict[str, Any] = document.setdefault("paths", {})
    taken = _operation_ids(paths)
    made: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        operation = _operation(endpoint, schemas, secured=bool(schemes))
        replaced = paths.get(prefix + endpoint.path, {}).get(endpoint.method.lower(), {})
        taken.discard(replaced.get("operationId", ""))
        operation["operationId"] = _unlike(operation["operationId"], taken)
        taken.add(operation["operationId"])
        if schemes:
            operation["security"] = [{name: []} for name in schemes]
        made.setdefault(prefix + endpoint.path, {})[endpoint.method.lower()] = operation
    names = _new_names(schemas.definitions, known_schemas)
    for path, operations in made.items():
        paths.setdefault(path, {}).update(_renamed(operations, names))
    for name, schema in schemas.definitions.items():
        new = names.get(name, name)
        known_schemas[new] = _titled(_renamed(schema, names), new)
    if schemes:
        found = {name: dict(scheme) for name, scheme in schemes.items()}
        components.setdefault("securitySchemes", {}).update(found)
    tags = document.setdefault("tags", [])
    known = {tag["name"] for tag in tags}
    tags += [{"name": each.name} for each in listed if each.name not in known]
    return document


def _operation_ids(paths: Mapping[str, Any]) -> set[str]:
    return {
        operation["operationId"]
        for item in paths.values()
        for operation in item.values()
        if isinstance(operation, dict) and "operationId" in operation
    }


def _unlike(name: str, taken: Container[str]) -> str:
    """A name that is not taken: itself, or with a number."""
    number, other = 2, name
    while other in taken:
        other, number = f"{name}{number}", number + 1
    return other


def _new_names(definitions: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, str]:
    """Names for schemas whose own name stands for another schema already."""
    found: dict[str, str] = {}
    before: dict[str, str] | None = None
    while found != before:  # one that refers to a renamed one is another one too
        before = dict(found)
        for name, schema in definitions.items():
            wanted = _renamed(schema, found)
            number, other = 2, name
            while other in known and known[other] != _titled(wanted, other):
                other, number = f"{name}{number}", number + 1
            if other != name:
                found[name] = other
    return found


def _titled(schema: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A schema whose title is its name: what generators of clients call its class."""
    return {**schema, "title": name}


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Have all references mean schemas by their new names."""
    if not names:
        return value
    if isinstance(value, list):
        return [_renamed(each, names) for each in cast("Iterable[Any]", value)]
    if not isinstance(value, dict):
        return value
    found = {key: _renamed(each, names) for key, each in cast("dict[str, Any]", value).items()}
    target = found.get("$ref")
    if isinstance(target, str):
        name = target.removeprefix(_REF)
        found["$ref"] = f"{_REF}{names.get(name, name)}"
    return found


class _Schemas:
    """The schemas of all bodies, and references to them."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        wanted: dict[tuple[str, str], tuple[str, Any, TypeAdapter[Any]]] = {}
        for each in endpoints:
            for kind, mode, adapter in _types(each):
                wanted[f"{each.name} {kind}", mode] = (f"{each.name} {kind}", mode, adapter)
        found, rest = TypeAdapter.json_schemas(
            list(wanted.values()), ref_template=f"{_REF}{{model}}"
        )
        self._found: dict[Any, Any] = dict(found)
        self.definitions: dict[str, Any] = {"Problem": PROBLEM_SCHEMA, **rest.get("$defs", {})}

    def of(self, endpoint: Endpoint, kind: str) -> dict[str, Any]:
        """The schema of a body: a reference, where it has a name."""
        mode = "serialization" if kind in {"shown", "returned"} else "validation"
        return dict(self._found[f"{endpoint.name} {kind}", mode])

    def row(self, endpoint: Endpoint) -> dict[str, Any]:
        """The schema of a row, of which fields may be left out."""
        row = self.of(endpoint, "shown")
        name = str(row.get("$ref", "")).removeprefix(_REF)
        if not endpoint.spec.reader.fields or not name:
            return row
        part = {k: v for k, v in self.definitions[name].items() if k != "required"}
        self.definitions[f"{name}Part"] = part
        return {"anyOf": [row, {"$ref": f"{_REF}{name}Part"}]}

    def page(self, endpoint: Endpoint) -> dict[str, Any]:
        """The schema of a page."""
        row = self.row(endpoint)
        name = f"{endpoint.spec.classes.read.__name__}Page"
        self.definitions[name] = {
            "type": "object",
            "required": ["results", "count", "next", "previous"],
            "properties": {
                "results": {"type": "array", "items": row},
                "count": {"type": "integer", "minimum": 0},
                "total_count": {"type": "integer", "minimum": 0},
                "next": _PAGE_END,
                "previous": _PAGE_END,
            },
        }
        return {"$ref": f"{_REF}{name}"}

    def without(self, schema: dict[str, Any], names: Iterable[str], suffix: str) -> dict[str, Any]:
        """A schema without some of its properties, under a name of its own."""
        name = str(schema.get("$ref", "")).removeprefix(_REF)
        source = self.definitions.get(name, schema)
        dropped = set(names) & set(source.get("properties", ()))
        if not dropped:
            return schema
        kept = {n: each for n, each in source["properties"].items() if n not in dropped}
        required = [n for n in source.get("required", ()) if n not in dropped]
        derived = {k: v for k, v in source.items() if k != "required"} | {"properties": kept}
        if required:
            derived["required"] = required
        if not name:
            return derived
        self.definitions[f"{name}{suffix}"] = derived
        return {"$ref": f"{_REF}{name}{suffix}"}


def _types(endpoint: Endpoint) -> Iterable[tuple[str, str, TypeAdapter[Any]]]:
    spec, action = endpoint.spec, endpoint.action
    yield "shown", "serialization", spec.item
    if endpoint.verb in {Verb.CREATE, Verb.REPLACE}:
        yield "taken", "validation", spec.create
    if endpoint.verb is Verb.PATCH:
        yield "taken", "validation", spec.update
    if action is not None and action.body is not None:
        yield "taken", "validation", TypeAdapter(action.body)
    if action is not None and action.returns is not None and action.returns is not ...:
        yield "returned", "serialization", TypeAdapter(action.returns)


def _operation(endpoint: Endpoint, schemas: _Schemas, *, secured: bool) -> dict[str, Any]:
    action = endpoint.action
    if endpoint.verb is not None:
        summary = _SUMMARIES[endpoint.verb].format(endpoint.tag)
    else:
        summary = (action.summary if action else "") or endpoint.name.replace("_", " ").capitalize()
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "tags": [endpoint.tag],
        "summary": summary,
        "parameters": [*_path_parameters(endpoint), *_parameters(endpoint)],
        "responses": _responses(endpoint, schemas, secured=secured),
    }
    body = _request_body(endpoint, schemas)
    if body is not None:
        operation["requestBody"] = {"required": True, "content": body}
    return operation


def _request_body(endpoint: Endpoint, schemas: _Schemas) -> dict[str, Any] | None:
    spec, verb = endpoint.spec, endpoint.verb
    if verb is Verb.SEARCH:
        return {JSON: {"schema": search_schema(spec.reader)}}
    owner = () if spec.parent_field is None else (spec.parent_field,)
    if verb in {Verb.CREATE, Verb.REPLACE}:
        schema = schemas.without(schemas.of(endpoint, "taken"), owner, "In")
        return {JSON: {"schema": schema}}
    if verb is Verb.PATCH:
        schema = schemas.of(endpoint, "taken")
        schema = schemas.without(schema, {*owner, *spec.knobs}, "Patch")
        return {MERGE_PATCH: {"schema": schema}, JSON: {"schema": schema}}
    if endpoint.action is not None and endpoint.action.body is not None:
        return {JSON: {"schema": schemas.of(endpoint, "taken")}}
    return None


def _path_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    spec = endpoint.spec
    if endpoint.on_row:
        pairs = zip(endpoint.spec.key_params, endpoint.spec.key_parts, strict=True)
        found = [_path_parameter(name, part.adapter) for name, part in pairs]
    while spec.parent is not None:
        adapter = spec.parent.key_parts[0].adapter
        found.insert(0, _path_parameter(str(spec.parent_field), adapter))
        spec = spec.parent
    return found


def _path_parameter(name: str, adapter: TypeAdapter[Any]) -> dict[str, Any]:
    schema = adapter.json_schema()
    if schema.get("type") == "integer":
        schema["format"] = "int64"
    if schema.get("type") == "string":
        schema.setdefault("minLength", 1)
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    spec, verb = endpoint.spec, endpoint.verb
    if verb is Verb.LIST:
        return list_parameters(spec.reader)
    found: list[dict[str, Any]] = []
    if verb is Verb.GET:
        if spec.reader.fields:
            found.append(fields_parameter(spec.reader))
        if spec.version_field is not None:
            found.append(_header("If-None-Match", "ETags that the client has; then 304."))
    if _is_conditional(endpoint):
        text = "The ETag of the version to change; `*` for any."
        found.append(_header("If-Match", text, required=spec.require_if_match))
    if endpoint.keyed is not None:
        text = "A new text for each thing to be done; sent again, the same answer comes back."
        found.append(_header("Idempotency-Key", text, required=endpoint.keyed))
    return found


def _header(name: str, description: str, *, required: bool = False) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": required,
        "description": description,
        "schema": {"type": "string"},
    }


def _is_conditional(endpoint: Endpoint) -> bool:
    if endpoint.action is not None:
        return endpoint.on_row
    return endpoint.verb in {Verb.REPLACE, Verb.PATCH, Verb.DELETE}


def _responses(endpoint: Endpoint, schemas: _Schemas, *, secured: bool) -> dict[str, Any]:
    found = _success(endpoint, schemas)
    for status in _failures(endpoint, secured=secured):
        found[str(status)] = _problem(status)
    return found


def _success(endpoint: Endpoint, schemas: _Schemas) -> dict[str, Any]:
    spec, verb, action = endpoint.spec, endpoint.verb, endpoint.action
    tag = {} if spec.version_field is None else {"ETag": _TEXT}
    if verb in {Verb.LIST, Verb.SEARCH}:
        headers = {"Link": _TEXT} if verb is Verb.LIST else {}
        return {"200": _shown("A page.", schemas.page(endpoint), headers)}
    row = schemas.of(endpoint, "shown")
    if verb is Verb.CREATE:
        return {"201": _shown("The new row.", row, {"Location": _TEXT, **tag})}
    if verb is Verb.DELETE or (action is not None and action.returns is None):
        return {"204": {"description": "It is done."}}
    if action is not None:
        if action.returns is not ...:
            return {str(action.status): _shown("The result.", schemas.of(endpoint, "returned"), {})}
        return {str(action.status): _shown("The row.", row, tag)}
    if verb is not Verb.GET:
        return {"200": _shown("The row.", row, tag)}
    responses = {"200": _shown("The row.", schemas.row(endpoint), tag)}
    if tag:
        responses["304"] = {"description": "The client has it already.", "headers": tag}
    return responses


def _failures(endpoint: Endpoint, *, secured: bool) -> list[int]:
    spec, verb, action = endpoint.spec, endpoint.verb, endpoint.action
    found = {400, 403, 500, 503}
    if secured:
        found.add(401)
    if endpoint.on_row or spec.parent is not None:
        found.add(404)
    if verb in _WRITES_BODY or (action is not None and action.body is not None):
        found |= {413, 415, 422}
    if verb not in {Verb.LIST, Verb.SEARCH, Verb.GET}:
        found |= {409, 422}
    if _is_conditional(endpoint) or verb is Verb.GET:
        found.add(412)
    if _is_conditional(endpoint) and spec.require_if_match:
        found.add(428)
    return sorted(found)


def _shown(text: str, schema: dict[str, Any], headers: dict[str, Any]) -> dict[str, Any]:
    response: dict[str, Any] = {"description": text, "content": {JSON: {"schema": schema}}}
    if headers:
        response["headers"] = headers
    return response


def _problem(status: int) -> dict[str, Any]:
    content = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": f"{_REF}Problem"}}}
    response: dict[str, Any] = {"description": HTTPStatus(status).phrase, "content": content}
    if status == HTTPStatus.UNAUTHORIZED:
        response["headers"] = {"WWW-Authenticate": _TEXT}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response["headers"] = {"Retry-After": _TEXT}
    return response
