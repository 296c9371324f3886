"""What is known of a resource before any request: its model, classes, keys, parameters."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError, create_model

from varco_domain.backend import FieldKind, FieldMeta, MetaReader, ParsedMeta
from varco_domain.dto import CreateDTO, ReadDTO, UpdateDTO, generate_dtos
from varco_domain.exception import ServiceNotFoundError
from varco_http._errors import HttpConfigError
from varco_http._etag import entity_tag
from varco_http._message import JSON, HttpRequest, HttpResponse
from varco_http._query import QueryReader

_CONTENT_TYPE: Final = ("content-type", JSON)
_INT64: Final = range(-(2**63), 2**63)
_INT_DIGITS: Final = 20
_LONGEST_KEY: Final = 1_024
_DOTS: Final = frozenset({".", ".."})
# A client may keep an answer, and has to ask each time whether it still holds (RFC 9111).
REVALIDATE: Final = ("cache-control", "private, no-cache")
# What an update class may have beside the fields of its model.
_KNOBS: Final = frozenset({"op", "expected_version"})


@dataclass(frozen=True, slots=True)
class Classes:
    """The DTO classes of a service."""

    create: Any
    read: Any
    update: Any


def classes_of(
    service: Any, create: Any = None, read: Any = None, update: Any = None
) -> tuple[ParsedMeta, Classes]:
    """The model and the DTO classes of a service class, or those given instead.

    Raises:
        HttpConfigError: The class does not say which model it serves.
    """
    types = getattr(service, "types", None)
    if types is None:
        name = getattr(service, "__name__", repr(service))
        raise HttpConfigError(f"{name} serves no model; derive it from AsyncService[Post, ...]")
    made = generate_dtos(types.entity_cls)
    found = [
        given or (default if declared in {base, Any} else declared)
        for given, declared, default, base in (
            (create, types.create, made.create, CreateDTO),
            (read, types.read, made.read, ReadDTO),
            (update, types.update, made.update, UpdateDTO),
        )
    ]
    return MetaReader.read(types.entity_cls), Classes(*found)


class Spec:
    """The facts of one resource, prepared once; immutable."""

    def __init__(
        self,
        service: Any,
        meta: ParsedMeta,
        classes: Classes,
        reader: QueryReader,
        *,
        parent: "Spec | None",
        parent_field: str | None,
        require_if_match: bool,
        max_body: int,
    ) -> None:
        self.service: Final = service
        self.meta: Final = meta
        self.classes: Final = classes
        self.reader: Final = reader
        self.parent: Final = parent
        self.parent_field: Final = parent_field
        self.require_if_match: Final = require_if_match
        self.max_body: Final = max_body
        self.create: Final[TypeAdapter[Any]] = TypeAdapter(classes.create)
        self.update: Final[TypeAdapter[Any]] = TypeAdapter(_expecting(classes.update, meta))
        self.item: Final[TypeAdapter[Any]] = TypeAdapter(classes.read)
        self.items: Final[TypeAdapter[Any]] = TypeAdapter(_list_of(classes.read))
        shown = _fields(classes.read)
        version = meta.version_field
        self.version_field: Final = version if version in shown else None
        self.knobs: Final = _KNOBS - meta.fields.keys()
        self.json_fields: Final = frozenset(
            name
            for name in _fields(classes.update) - self.knobs
            if name not in meta.fields or meta.fields[name].kind is FieldKind.JSON
        )
        self.fields: Final = _fields(classes.create) | _fields(classes.update)
        self.key_parts: Final = [KeyPart(meta.fields[name]) for name in meta.pk_fields]
        self.key_params: Final = meta.pk_fields if meta.is_composite_pk else ("pk",)
        if parent_field is not None and parent_field not in shown:
            raise HttpConfigError(
                f"{classes.read.__name__} does not show {parent_field!r}, by which "
                f"{meta.table} belong to {parent.meta.table if parent else 'a parent'}"
            )

    def key(self, params: Mapping[str, str]) -> Any:
        """The key in a path; a text that is none names no row.

        Raises:
            ServiceNotFoundError: It is no key of this model.
        """
        parts = [
            part.read(params[name])
            for part, name in zip(self.key_parts, self.key_params, strict=True)
        ]
        if any(part is None for part in parts):
            shown = ", ".join(params[name][:60] for name in self.key_params)
            raise ServiceNotFoundError(shown, self.meta.entity_cls)
        return tuple(parts) if self.meta.is_composite_pk else parts[0]

    def unfit_keys(self, dto: Any) -> list[str]:
        """The fields of a key, chosen by a client, that no path could name."""
        parts = zip(self.meta.pk_fields, self.key_parts, strict=True)
        return [name for name, part in parts if not part.fits(getattr(dto, name, None))]

    def key_path(self, pk: Any) -> str:
        """A key as it stands in a path."""
        return "/".join(quote(str(part), safe="") for part in self.meta.pk_values(pk))

    def version(self, dto: Any) -> int | None:
        """The version of a row that is shown, if it has one."""
        return None if self.version_field is None else getattr(dto, self.version_field)

    def tag(self, dto: Any) -> str | None:
        """The entity tag of a row without its quotes; None of a model without versions."""
        version = self.version(dto)
        return None if version is None else entity_tag(dto.pk, version)

    def respond(
        self,
        dto: Any,
        status: int = 200,
        headers: tuple[tuple[str, str], ...] = (),
        fields: Collection[str] | None = None,
    ) -> HttpResponse:
        """The answer that shows a row."""
        include: Any = None if fields is None else set(fields)
        body: bytes = self.item.serializer.to_json(dto, include=include, by_alias=True)
        tag = self.tag(dto)
        tagged = () if tag is None else (("etag", f'"{tag}"'),)
        return HttpResponse(status, (_CONTENT_TYPE, *tagged, *headers), body)

    def created(self, request: HttpRequest, dto: Any) -> HttpResponse:
        """The answer to a creation."""
        place = f"{request.target.rstrip('/')}/{self.key_path(dto.pk)}"
        return self.respond(dto, 201, (("location", place),))

    def parent_key(self, request: HttpRequest) -> Any:
        """The key of the parent in a path.

        Raises:
            ServiceNotFoundError: It is no key of the parent's model.
        """
        parent = cast("Spec", self.parent)
        name = cast("str", self.parent_field)
        return parent.key({parent.key_params[0]: request.path_params[name]})


class KeyPart:
    """Reads one part of a key from a path."""

    def __init__(self, field: FieldMeta) -> None:
        self._kind = field.kind
        self.adapter: TypeAdapter[Any] = TypeAdapter(field.annotation)

    def fits(self, value: object) -> bool:
        """Tell whether a value can stand in a path; what is no text always can."""
        if not isinstance(value, str):
            return True
        # Clients resolve dots, and servers decode a path before they look for its parts.
        return value not in _DOTS and "/" not in value and self.read(value) is not None

    def read(self, text: str) -> Any:
        """The value that a text stands for; None of one that is none."""
        if not text or len(text) > _LONGEST_KEY or not text.isprintable():
            return None
        if self._kind is FieldKind.INT:
            digits = text.removeprefix("-")
            if not digits.isascii() or not digits.isdigit() or len(text) > _INT_DIGITS:
                return None
            if int(text) not in _INT64:
                return None
        try:
            return self.adapter.validate_strings(text)
        except ValidationError:
            return None


def _expecting(update: Any, meta: ParsedMeta) -> Any:
    """The class of changes with a place for the version that a header expects."""
    if meta.version_field is None or "expected_version" in _fields(update):
        return update
    version: Any = (int | None, None)
    return create_model(
        update.__name__, __base__=update, __module__=update.__module__, expected_version=version
    )


def _list_of(item: Any) -> Any:
    return list[item]


def _fields(model: Any) -> frozenset[str]:
    return frozenset(getattr(model, "model_fields", ()))
