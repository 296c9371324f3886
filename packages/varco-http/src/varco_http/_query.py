"""Query parameters of a list: filter, sort, limit, cursor, fields and total."""

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, ClassVar, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from varco_domain.backend import FieldKind, ParsedMeta
from varco_http._errors import Fault, HttpConfigError, InvalidRequestError, UnknownParameterError
from varco_query import Limits, QueryError, QueryParams, QueryParser, QuerySchema

NAMES: Final = ("filter", "sort", "limit", "cursor", "fields", "total")
_DIGITS: Final = 9


type Place = Callable[[str, str], Fault]
"""Says of a parameter's name and what is wrong where it stands."""


class ListQuery(NamedTuple):
    """What a list was asked for.

    Attributes:
        params: Filter, sort, limit and cursor.
        fields: The only fields to show; None for all.
        total: Whether to count all rows, or up to which number.
    """

    params: QueryParams
    fields: frozenset[str] | None = None
    total: bool | int = False


class SearchBody(BaseModel):
    """The parameters of a list as a body, for filters that are too long for a URL."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    filter: str | None = None
    sort: str | None = None
    limit: int | None = Field(default=None, ge=1)
    cursor: str | None = None
    fields: list[str] | None = Field(default=None, min_length=1)
    total: bool | Annotated[int, Field(ge=1, lt=10**_DIGITS)] = False


class QueryReader:
    """Reads the parameters of one kind of list. Immutable; safe to share.

    Args:
        schema: The fields that a filter and a sort may use.
        fields: The fields that may be chosen to be shown alone; without any, `fields` is no
            parameter.
        default_limit: How many rows a page has when the caller does not say.
        max_limit: How many rows it has at most.
        over: What a larger limit does: it is refused, or taken for the largest.
        limits: How large a filter and a sort may be.
    """

    def __init__(
        self,
        schema: QuerySchema,
        *,
        fields: Iterable[str] = (),
        default_limit: int = 100,
        max_limit: int = 1000,
        over: Literal["refuse", "clamp"] = "refuse",
        limits: Limits | None = None,
    ) -> None:
        self.schema: Final = schema
        self.fields: Final = tuple(fields)
        self.default_limit: Final = min(default_limit, max_limit)
        self.max_limit: Final = max_limit
        self.over: Final = over
        self.names: Final = tuple(name for name in NAMES if self.fields or name != "fields")
        self._known = frozenset(self.fields)
        self.limits: Final = limits or Limits(max_limit=max(max_limit, 1))
        self._parser = QueryParser(schema, self.limits)
        self._empty = ListQuery(QueryParams(limit=self.default_limit))

    def read(self, pairs: Sequence[tuple[str, str]]) -> ListQuery:
        """What the parameters of a URL ask for.

        Raises:
            UnknownParameterError: One is none of `names`.
            InvalidRequestError: One is there twice, or means nothing.
            QueryError: The filter, sort or cursor is none.
        """
        if not pairs:
            return self._empty
        given = dict(pairs)
        if len(given) != len(pairs):
            names = [name for name, _ in pairs]
            name = next(name for name in given if names.count(name) > 1)
            raise _wrong(in_query(name, f"the parameter {name[:60]!r} is there twice"))
        for name in given:
            if name not in self.names:
                raise self._unknown(name)
        text = given.get("limit")
        fields = given.get("fields")
        total = given.get("total")
        return ListQuery(
            self._params(
                given.get("filter"),
                given.get("sort"),
                None if text is None else _number("limit", text),
                given.get("cursor"),
                in_query,
            ),
            None if fields is None else self._chosen(fields.split(","), in_query),
            False if total is None else _total(total),
        )

    def read_body(self, body: SearchBody) -> ListQuery:
        """What a body asks for.

        Raises:
            InvalidRequestError: A value means nothing.
            QueryError: The filter, sort or cursor is none.
        """
        params = self._params(body.filter, body.sort, body.limit, body.cursor, in_body)
        return ListQuery(
            params, None if body.fields is None else self._chosen(body.fields, in_body), body.total
        )

    def _params(
        self,
        text: str | None,
        sort: str | None,
        limit: int | None,
        cursor: str | None,
        place: Place,
    ) -> QueryParams:
        if limit is None:
            limit = self.default_limit
        elif limit < 1:
            raise _wrong(place("limit", "limit is a whole number from 1"))
        elif limit > self.max_limit:
            if self.over == "refuse":
                raise _wrong(place("limit", f"limit is at most {self.max_limit}"))
            limit = self.max_limit
        part = "sort"
        try:
            keys = None if sort is None else self._parser.parse_sort(sort)
            part = "filter"
            return self._parser.parse(text, sort=keys, limit=limit, cursor=cursor or None)
        except QueryError as error:
            raise placed(error, part, place) from None

    def _unknown(self, name: str) -> UnknownParameterError:
        message = f"unknown parameter {name[:60]!r} (the parameters are {', '.join(self.names)})"
        return UnknownParameterError(message, errors=[Fault(message, parameter=name[:60])])

    def _chosen(self, names: Sequence[str], place: Place) -> frozenset[str]:
        chosen = {name.strip() for name in names[: len(self.fields) + 1]}
        for name in chosen:
            if name not in self._known:
                known = ", ".join(self.fields)
                raise _wrong(
                    place("fields", f"unknown field {name[:60]!r} (the fields are {known})")
                )
        if len(names) > len(self.fields):
            raise _wrong(place("fields", "a field is there twice"))
        return frozenset(chosen)


def query_schema_of(
    meta: ParsedMeta, shown: Iterable[str] | None = None, *, indexed_only: bool = False
) -> QuerySchema:
    """The fields that callers may filter and sort by.

    Those are the fields that they get to see and that can be compared.

    Args:
        meta: The model's.
        shown: The fields that callers get to see; None for all.
        indexed_only: Leave out the fields that no index begins with, so that no filter from outside
            reads a whole table.

    Raises:
        HttpConfigError: No field is left.
    """
    seen = None if shown is None else frozenset(shown)
    indexed = indexed_fields(meta)
    fields = {
        name: field.annotation
        for name, field in meta.fields.items()
        if field.kind not in {FieldKind.JSON, FieldKind.BYTES}
        and (seen is None or name in seen)
        and (not indexed_only or name in indexed)
    }
    if not fields:
        raise HttpConfigError(f"{meta.entity_cls.__name__} has no field that a filter could use")
    return QuerySchema(fields)


def indexed_fields(meta: ParsedMeta) -> frozenset[str]:
    """The fields of a model that an index begins with."""
    unique = (getattr(each, "fields", ()) for each in meta.constraints)
    return frozenset(
        {
            meta.pk_fields[0],
            *meta.foreign_keys,
            *(name for name, field in meta.fields.items() if field.hint.index or field.hint.unique),
            *(fields[0] for fields in unique if fields),
        }
    )


def _number(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS:
        raise _wrong(in_query(name, f"{name} is a whole number from 1, not {text[:60]!r}"))
    return int(text)


def _total(text: str) -> bool | int:
    if text in {"true", "false"}:
        return text == "true"
    if text.isascii() and text.isdigit() and 0 < len(text) <= _DIGITS and int(text):
        return int(text)
    message = "total is true, false or the number at which to stop counting"
    raise _wrong(in_query("total", message))


def placed(error: QueryError, name: str, place: Place) -> QueryError:
    """An error that says, for its problem document, in which parameter it was."""
    vars(error)["errors"] = (place(name, error.message),)
    return error


def in_query(name: str, message: str) -> Fault:
    """What is wrong with a parameter of a URL."""
    return Fault(message, parameter=name[:60])


def in_body(name: str, message: str) -> Fault:
    """What is wrong with a parameter in a body."""
    return Fault(message, pointer=f"/{name}")


def _wrong(fault: Fault) -> InvalidRequestError:
    return InvalidRequestError(fault.message, errors=[fault])
