"""A resource: a service, where it is, and what may be done with it over HTTP."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal, TypedDict

from varco_http._body import MAX_BODY
from varco_http._endpoint import Endpoint
from varco_http._errors import HttpConfigError
from varco_http._idempotency import Idempotency
from varco_http._query import QueryReader, query_schema_of
from varco_http._reads import get_row, list_rows, search_rows
from varco_http._spec import Spec, classes_of
from varco_http._verb import Handler, HttpAction, Verb
from varco_http._writes import (
    Action,
    create_row,
    delete_row,
    patch_row,
    replace_row,
    restore_row,
)
from varco_query import Limits, QuerySchema

_METHODS: Final = {
    Verb.LIST: ("GET", ""),
    Verb.SEARCH: ("POST", "/search"),
    Verb.QUERY: ("QUERY", ""),
    Verb.CREATE: ("POST", ""),
    Verb.GET: ("GET", "/{}"),
    Verb.REPLACE: ("PUT", "/{}"),
    Verb.PATCH: ("PATCH", "/{}"),
    Verb.DELETE: ("DELETE", "/{}"),
    Verb.RESTORE: ("POST", "/{}/restore"),
}


class ResourceOptions(TypedDict, total=False):
    """The options of `HttpResource`, for functions that hand them on."""

    verbs: Collection[Verb] | None
    without: Collection[Verb]
    actions: Sequence[HttpAction]
    handlers: Mapping[Verb, Handler] | None
    parent: "HttpResource | None"
    parent_field: str | None
    name: str | None
    create: type[Any] | None
    read: type[Any] | None
    update: type[Any] | None
    schema: QuerySchema | None
    indexed_only: bool
    sparse: bool
    default_limit: int | None
    max_limit: int | None
    over_limit: Literal["refuse", "clamp"]
    limits: Limits | None
    require_if_match: bool
    idempotency: Idempotency | None
    max_body: int


class HttpResource:
    """What HTTP clients may do with a service. Immutable; made before the application starts.

    Every operation is switched by `verbs` and `without` and replaced by `handlers`; those of
    one's own are `actions`. Services are looked up when a request comes.

    Args:
        service: The service class; an instance of it is asked for at each request.
        prefix: Where it is, such as `/tickets`; below the parent's row, if there is one.
        verbs: The operations to offer; by default all that the service has.
        without: Operations to leave out of them.
        actions: Operations of one's own.
        handlers: Functions of request and services that answer instead.
        parent: The resource whose row the path names first.
        parent_field: The field with the parent's key; by default the only foreign key to it.
        name: What it is called in names of operations and in the documentation; its table.
        create: The class of what creates a row, if the service does not say.
        read: The class of what is shown.
        update: The class of what changes a row; derived from `UpdateDTO`.
        schema: The fields to filter and sort by, by default those that are shown and comparable.
        indexed_only: Leave out of them the fields that no index begins with.
        sparse: Whether `fields=` shows some fields only; the schemas of what is shown then allow
            for fields that are missing.
        default_limit: How many rows a page has when the caller does not say; the service's.
        max_limit: How many rows it has at most; the service's.
        over_limit: What a larger limit does: it is refused, or taken for the largest.
        limits: How large a filter and a sort may be.
        require_if_match: Whether a write on a row has to say which version it changes (428).
        idempotency: Keeps the answers of writes that have an `Idempotency-Key`.
        max_body: The longest body, in bytes.

    Raises:
        HttpConfigError: The parts do not fit.
    """

    def __init__(
        self,
        service: type[Any],
        prefix: str,
        *,
        verbs: Collection[Verb] | None = None,
        without: Collection[Verb] = (),
        actions: Sequence[HttpAction] = (),
        handlers: Mapping[Verb, Handler] | None = None,
        parent: "HttpResource | None" = None,
        parent_field: str | None = None,
        name: str | None = None,
        create: type[Any] | None = None,
        read: type[Any] | None = None,
        update: type[Any] | None = None,
        schema: QuerySchema | None = None,
        indexed_only: bool = False,
        sparse: bool = True,
        default_limit: int | None = None,
        max_limit: int | None = None,
        over_limit: Literal["refuse", "clamp"] = "refuse",
        limits: Limits | None = None,
        require_if_match: bool = False,
        idempotency: Idempotency | None = None,
        max_body: int = MAX_BODY,
    ) -> None:
        if not prefix.startswith("/") or prefix.endswith("/") or "{" in prefix:
            raise HttpConfigError(f"a prefix is a path such as '/tickets', not {prefix!r}")
        meta, classes = classes_of(service, create, read, update)
        shown = classes.read.model_fields
        reader = QueryReader(
            schema or query_schema_of(meta, shown, indexed_only=indexed_only),
            fields=shown if sparse else (),
            default_limit=default_limit or service.default_limit,
            max_limit=min(max_limit or service.max_limit, service.max_limit),
            over=over_limit,
            limits=limits,
        )
        self.spec: Final[Spec] = Spec(
            service,
            meta,
            classes,
            reader,
            parent=None if parent is None else parent.spec,
            parent_field=_parent_field(meta, parent, parent_field),
            require_if_match=require_if_match,
            max_body=max_body,
        )
        self.service: Final = service
        self.name: Final = name or meta.table
        self.parent: Final = parent
        self.idempotency: Final = idempotency
        self.collection_path: Final = f"{'' if parent is None else self._below(parent)}{prefix}"
        keys = "/".join(f"{{{each}}}" for each in self.spec.key_params)
        self.row_path: Final = f"{self.collection_path}/{keys}"
        offered = self._supported() if verbs is None else set(verbs)
        self.verbs: Final = tuple(v for v in Verb if v in offered - set(without))
        own = handlers or {}
        self.endpoints: Final = (
            *(self._operation(verb, own.get(verb)) for verb in self.verbs),
            *(self._action(action) for action in actions),
        )

    @classmethod
    def of(
        cls, service: "type[Any] | HttpResource", prefix: str, options: ResourceOptions
    ) -> "HttpResource":
        """The resource that an adapter's `resource(service, prefix, **options)` means.

        Args:
            service: The service class, or a resource that is made already.
            prefix: Where it is.
            options: Those of a resource.

        Raises:
            TypeError: A resource that is made already is given a prefix or options.
        """
        if not isinstance(service, HttpResource):
            return cls(service, prefix, **options)
        if prefix or options:
            raise TypeError("prefix and options belong to the HttpResource, which is made already")
        return service

    def endpoint(self, verb: Verb | str) -> Endpoint:
        """An operation by its verb, or the name of its action.

        Raises:
            HttpConfigError: It is not offered.
        """
        for each in self.endpoints:
            if each.verb == verb or (each.action is not None and each.action.name == verb):
                return each
        raise HttpConfigError(f"{self.name} has no operation {verb!r}")

    def _supported(self) -> set[Verb]:
        found = set(Verb)
        if not hasattr(self.service, "restore"):
            found.discard(Verb.RESTORE)
        needed = {n for n, f in self.spec.classes.create.model_fields.items() if f.is_required()}
        if not needed <= {*self.spec.classes.update.model_fields, *self.spec.meta.pk_fields}:
            found.discard(Verb.REPLACE)
        return found

    def _below(self, parent: "HttpResource") -> str:
        return f"{parent.collection_path}/{{{self.spec.parent_field}}}"

    def _operation(self, verb: Verb, own: Handler | None) -> Endpoint:
        method, tail = _METHODS[verb]
        keys = "/".join(f"{{{each}}}" for each in self.spec.key_params)
        keyed = None
        if self.idempotency is not None and verb in {Verb.CREATE, Verb.PATCH, Verb.RESTORE}:
            keyed = self.idempotency.required
        return Endpoint(
            verb=verb,
            name=f"{verb}_{self.name}",
            method=method,
            path=self.collection_path + tail.replace("{}", keys),
            tag=self.name,
            handler=own or self._handler(verb),
            spec=self.spec,
            in_openapi=verb is not Verb.QUERY,
            keyed=keyed,
        )

    def _handler(self, verb: Verb) -> Handler:
        spec = self.spec
        match verb:
            case Verb.LIST:
                return partial(list_rows, spec)
            case Verb.SEARCH | Verb.QUERY:
                return partial(search_rows, spec)
            case Verb.CREATE:
                return partial(create_row, spec, self.idempotency)
            case Verb.GET:
                return partial(get_row, spec)
            case Verb.REPLACE:
                return partial(replace_row, spec)
            case Verb.PATCH:
                return partial(patch_row, spec, self.idempotency)
            case Verb.DELETE:
                return partial(delete_row, spec)
            case Verb.RESTORE:
                return partial(restore_row, spec, self.idempotency)

    def _action(self, action: HttpAction) -> Endpoint:
        if action.call is None and not callable(getattr(self.service, action.name, None)):
            raise HttpConfigError(
                f"{self.service.__name__} has no method {action.name!r}; give the action a call"
            )
        base = self.row_path if action.on == "row" else self.collection_path
        recorded = action.records and self.idempotency is not None
        return Endpoint(
            verb=None,
            name=f"{action.name}_{self.name}",
            method=action.method,
            path=f"{base}/{action.name}",
            tag=self.name,
            handler=Action(self.spec, action, self.idempotency),
            spec=self.spec,
            action=action,
            keyed=self.idempotency.required if recorded and self.idempotency else None,
        )


def _parent_field(meta: Any, parent: HttpResource | None, given: str | None) -> str | None:
    if parent is None:
        if given is not None:
            raise HttpConfigError(f"parent_field={given!r} needs a parent")
        return None
    if parent.spec.meta.is_composite_pk:
        raise HttpConfigError(f"{parent.name} has a composite key, and cannot be a parent")
    table = parent.spec.meta.table
    found: list[str] = [name for name, key in meta.foreign_keys.items() if key.table == table]
    if given is not None:
        if given not in meta.fields:
            raise HttpConfigError(f"{meta.entity_cls.__name__} has no field {given!r}")
        return given
    if len(found) != 1:
        raise HttpConfigError(
            f"{meta.entity_cls.__name__} has {len(found)} foreign keys to {table}; say which is "
            "the parent's: parent_field='...'"
        )
    return found[0]
