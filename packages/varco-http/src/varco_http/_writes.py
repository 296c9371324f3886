"""The operations that write."""

from typing import Any, Final, cast

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json, to_jsonable_python

from varco_domain.exception import StaleEntityError
from varco_http._body import (
    check_media_type,
    check_no_query,
    check_size,
    read_json,
    refuse_fields,
)
from varco_http._errors import InvalidRequestError
from varco_http._idempotency import Idempotency, idempotent
from varco_http._merge import merge_patch
from varco_http._message import JSON, MERGE_PATCH, HttpRequest, HttpResponse
from varco_http._problem import invalid_body
from varco_http._reach import changed, check_parents, current, expected_version
from varco_http._spec import Spec
from varco_http._verb import HttpAction, ServiceOf

_ATTEMPTS: Final = 5
_NO_CONTENT: Final = 204


async def create_row(
    spec: Spec, idempotency: Idempotency | None, request: HttpRequest, services: ServiceOf
) -> HttpResponse:
    """Create a row, and answer with it and where it is."""
    check_no_query(request)
    dto = _read_new(spec, request)
    refuse_fields(spec.unfit_keys(dto), "is no key that can stand in a path")

    def respond(row: Any) -> HttpResponse:
        return spec.created(request, row)

    async def write(service: Any) -> HttpResponse:
        await check_parents(spec, request, services)
        return respond(await service.create(dto, request.ctx))

    return await idempotent(idempotency, request, services(spec.service), respond, write)


async def replace_row(spec: Spec, request: HttpRequest, services: ServiceOf) -> HttpResponse:
    """Put a representation in the place of a row: what it leaves out gets its default."""
    check_no_query(request)
    pk = spec.key(request.path_params)
    new = _read_new(spec, request)
    names = spec.classes.update.model_fields.keys() - spec.knobs
    given = {name: getattr(new, name) for name in names if hasattr(new, name)}
    try:
        dto = spec.update.validate_python(given)
    except ValidationError as error:
        raise invalid_body(error, given) from None
    for name in spec.meta.pk_fields:
        key = getattr(new, name, None)
        if (
            key is not None
            and key != dict(zip(spec.meta.pk_fields, spec.meta.pk_values(pk), strict=True))[name]
        ):
            refuse_fields([name], "is another key than that of the path")
    service = services(spec.service)
    version = await expected_version(spec, request, services, service, pk)
    return spec.respond(await _updated(request, service, pk, dto, version))


async def patch_row(
    spec: Spec, idempotency: Idempotency | None, request: HttpRequest, services: ServiceOf
) -> HttpResponse:
    """Change the fields that a merge patch has (RFC 7396)."""
    check_no_query(request)
    pk = spec.key(request.path_params)
    check_size(request, spec.max_body)
    check_media_type(request, (MERGE_PATCH, JSON))
    dto = read_json(spec.update, request.body)
    given: set[str] = dto.model_fields_set
    refuse_fields(given & spec.knobs, "is no field; If-Match says which version to expect")
    _check_owner(spec, request, dto)

    async def write(service: Any) -> HttpResponse:
        version = await expected_version(spec, request, services, service, pk)
        if given & spec.json_fields and _has_objects(spec, request.body):
            return spec.respond(await _merged(spec, request, service, pk, version))
        return spec.respond(await _updated(request, service, pk, dto, version))

    return await idempotent(idempotency, request, services(spec.service), spec.respond, write)


async def delete_row(spec: Spec, request: HttpRequest, services: ServiceOf) -> HttpResponse:
    """Remove a row."""
    check_no_query(request)
    pk = spec.key(request.path_params)
    service = services(spec.service)
    version = await expected_version(spec, request, services, service, pk)
    if version is None:
        await service.delete(pk, request.ctx)
    else:
        try:
            await service.delete(pk, request.ctx, expected_version=version)
        except StaleEntityError as error:
            raise changed("if-match") from error
    return HttpResponse(_NO_CONTENT)


async def restore_row(
    spec: Spec, idempotency: Idempotency | None, request: HttpRequest, services: ServiceOf
) -> HttpResponse:
    """Take the mark off a deleted row."""
    check_no_query(request)
    pk = spec.key(request.path_params)

    async def write(service: Any) -> HttpResponse:
        if spec.parent is not None:
            await check_parents(spec, request, services)
            await current(spec, request, service.only_deleted(), pk)
        return spec.respond(await service.restore(pk, request.ctx))

    return await idempotent(idempotency, request, services(spec.service), spec.respond, write)


class Action:
    """One operation of a resource's own, prepared once."""

    def __init__(self, spec: Spec, action: HttpAction, idempotency: Idempotency | None) -> None:
        self._spec = spec
        self._action = action
        self._idempotency = idempotency if action.records else None
        self._body: TypeAdapter[Any] | None = None
        if action.body is not None:
            self._body = TypeAdapter(action.body)
        self._result: TypeAdapter[Any] | None = None
        if action.returns is not ... and action.returns is not None:
            self._result = TypeAdapter(action.returns)

    async def __call__(self, request: HttpRequest, services: ServiceOf) -> HttpResponse:
        """Answer a request."""
        spec, action = self._spec, self._action
        check_no_query(request)
        arguments: list[Any] = []
        if action.on == "row":
            arguments.append(spec.key(request.path_params))
        if self._body is not None:
            check_size(request, spec.max_body)
            check_media_type(request)
            arguments.append(read_json(self._body, request.body))

        async def write(service: Any) -> HttpResponse:
            if action.on == "row":
                await expected_version(spec, request, services, service, arguments[0])
            else:
                await check_parents(spec, request, services)
            call = action.call
            if call is None:
                found = await getattr(service, action.name)(*arguments, request.ctx)
            else:
                found = await call(service, *arguments, request.ctx)
            return self._respond(found)

        service = services(spec.service)
        return await idempotent(self._idempotency, request, service, self._respond, write)

    def _respond(self, found: Any) -> HttpResponse:
        action = self._action
        if action.returns is None:
            return HttpResponse(_NO_CONTENT)
        if self._result is None:
            return self._spec.respond(found, action.status)
        body = self._result.dump_json(found, by_alias=True)
        return HttpResponse(action.status, (("content-type", JSON),), body)


async def _updated(
    request: HttpRequest, service: Any, pk: Any, dto: Any, version: int | None
) -> Any:
    if version is None:
        return await service.update(pk, dto, request.ctx)
    # Not a field that the client set: it is no change.
    object.__setattr__(dto, "expected_version", version)
    try:
        return await service.update(pk, dto, request.ctx)
    except StaleEntityError as error:
        raise changed("if-match") from error


async def _merged(
    spec: Spec, request: HttpRequest, service: Any, pk: Any, version: int | None
) -> Any:
    """Merge objects into what is stored, of the version that was read."""
    patch: dict[str, Any] = from_json(request.body)
    attempt = 1
    while True:
        before = await current(spec, request, service, pk)
        found = spec.version(before)
        if version is not None and version != found:
            raise changed("if-match")
        stored = spec.item.dump_python(before, mode="json", include=set(patch), by_alias=False)
        merged = merge_patch({name: stored.get(name) for name in patch}, patch)
        body = to_json({name: merged.get(name) for name in patch})
        dto = read_json(spec.update, body)
        object.__setattr__(dto, "expected_version", found)
        try:
            return await service.update(pk, dto, request.ctx)
        except StaleEntityError as error:
            if version is not None:
                raise changed("if-match") from error
            if attempt == _ATTEMPTS:
                raise
            attempt += 1


def _has_objects(spec: Spec, body: bytes) -> bool:
    patch = from_json(body)
    return any(isinstance(patch.get(name), dict) for name in spec.json_fields)


def _read_new(spec: Spec, request: HttpRequest) -> Any:
    check_size(request, spec.max_body)
    check_media_type(request)
    if spec.parent is None:
        return read_json(spec.create, request.body)
    name = str(spec.parent_field)
    try:
        given: Any = from_json(request.body)
    except ValueError as error:
        raise InvalidRequestError(f"the body is no JSON: {error}") from None
    if not isinstance(given, dict):
        return read_json(spec.create, request.body)
    owner = to_jsonable_python(spec.parent_key(request))
    body = cast("dict[str, Any]", given)
    if name in body and body[name] != owner:
        refuse_fields([name], "is another than that of the path")
    return read_json(spec.create, to_json({**body, name: owner}))


def _check_owner(spec: Spec, request: HttpRequest, dto: Any) -> None:
    name = spec.parent_field
    if name in dto.model_fields_set and getattr(dto, str(name)) != spec.parent_key(request):
        refuse_fields([str(name)], "is another than that of the path")
