"""Idempotency-Key: the answer of a write is kept in the transaction of the write."""

import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Annotated, Any, Final

from varco_domain.auth import AuthContext
from varco_domain.backend import utc_now
from varco_domain.exception import error_code_for
from varco_domain.meta import FieldHint, PKStrategy, PrimaryKey, pk_field
from varco_domain.model import DomainModel
from varco_domain.providers import IUoWProvider
from varco_domain.service import EntityChange
from varco_domain.uow import AsyncUnitOfWork
from varco_http._errors import (
    Fault,
    HttpConfigError,
    HttpError,
    IdempotencyInFlightError,
    IdempotencyMismatchError,
    InvalidRequestError,
)
from varco_http._message import HttpRequest, HttpResponse
from varco_query import F, QueryParams

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_SERVER: Final = 500
_UNAVAILABLE: Final = 503
_PURGED_AT_ONCE: Final = 500
REPLAYED: Final = ("idempotency-replayed", "true")

type Write = Callable[[Any], Awaitable[HttpResponse]]
type Respond = Callable[[Any], HttpResponse]


class IdempotencyRecord(DomainModel):
    """The answer to a write that was sent with an `Idempotency-Key`.

    Register it with the backend whose transactions the services use, as any other model: its
    table is made and migrated with theirs.

    Attributes:
        pk: A hash of tenant, caller, method, path and key.
        fingerprint: A hash of the request's body.
        status: The status of the answer.
        headers: Its headers.
        body: Its body.
        expires_at: From when on the key may be used anew.
    """

    class Meta:
        """Where it is kept."""

        table = "varco_idempotency"

    pk: Annotated[str, PrimaryKey(PKStrategy.STR_ASSIGNED), FieldHint(max_length=64)] = pk_field(
        init=True
    )
    fingerprint: Annotated[str, FieldHint(max_length=64)]
    status: int
    headers: list[list[str]]
    body: bytes
    expires_at: Annotated[datetime, FieldHint(index=True)]


class Idempotency:
    """Makes writes that are sent again with the same `Idempotency-Key` have one effect.

    A key belongs to a tenant, a caller, a method and a path. The answer is stored in the
    transaction of the write: there is neither an effect without a stored answer nor the other way
    round, whenever the process dies. An answer that says that nothing was written is not stored,
    and so no error ever is: the request may be sent again with the same key. Safe to share between
    the tasks of one event loop; of requests at once in several processes the database lets one
    commit, and the others answer as it did.

    Args:
        provider: Makes the units of work of the services; knows `IdempotencyRecord`.
        ttl: For how many seconds an answer is kept.
        required: Whether a request without a key is refused (400).
        in_flight_status: What is answered while the first request runs.
        mismatch_status: What is answered to another body with the same key.
        clock: Tells the time, aware of its zone.

    Raises:
        HttpConfigError: The provider does not know `IdempotencyRecord`.
    """

    def __init__(
        self,
        provider: IUoWProvider,
        *,
        ttl: float = 86_400.0,
        required: bool = False,
        in_flight_status: int = 409,
        mismatch_status: int = 422,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        models = getattr(provider, "models", None)
        if models is not None and IdempotencyRecord not in models:
            raise HttpConfigError(
                f"{type(provider).__name__} does not know IdempotencyRecord; register it beside "
                "the models of the services"
            )
        self.required: Final = required
        self._provider = provider
        self._ttl = timedelta(seconds=ttl)
        self._in_flight_status = in_flight_status
        self._mismatch_status = mismatch_status
        self._clock = clock
        # The keys of the requests that this process works on, with their fingerprints.
        self._in_flight: dict[str, str] = {}

    async def purge(self) -> int:
        """Remove the answers that have expired, of the tenant in context if each has a store.

        Returns:
            How many there were.
        """
        old = QueryParams(F.expires_at <= self._clock(), limit=_PURGED_AT_ONCE)
        number = 0
        while True:
            async with self._provider.make_uow() as uow:
                repository = uow.repository(IdempotencyRecord)
                records = await repository.find_by_query(old)
                await repository.delete_many(records)
            number += len(records)
            if len(records) < _PURGED_AT_ONCE:
                return number

    async def run(
        self, key: str, request: HttpRequest, service: Any, respond: Respond, write: Write
    ) -> HttpResponse:
        """Answer with what is stored, or write and store the answer.

        Args:
            key: The key that the client chose.
            request: The request.
            service: The service that writes.
            respond: Makes the answer from what the service shows of the row.
            write: Writes with the service that it is given, and answers.

        Raises:
            InvalidRequestError: The key is none, or nobody known sends it.
            IdempotencyInFlightError: The first request with the key still runs.
            IdempotencyMismatchError: The key was sent with another body.
        """
        pk, fingerprint = _scoped(key, request), sha256(request.body).hexdigest()
        found = await self._find(pk)
        if found is not None and self._is_live(found):
            return self._replay(found, fingerprint)
        if pk in self._in_flight:
            raise self._busy(pk, fingerprint)
        self._in_flight[pk] = fingerprint
        try:
            keeper = _Keeper(pk, fingerprint, self._clock() + self._ttl, found, service, respond)
            return await write(_witnessed(service, keeper))
        except Exception as error:
            status = error_code_for(error).http_status
            if status < _SERVER or status == _UNAVAILABLE:
                # Another process may have been first: its row stands in the way of this one.
                with suppress(Exception):
                    found = await self._find(pk)
                if found is not None and self._is_live(found):
                    return self._replay(found, fingerprint)
            raise
        finally:
            del self._in_flight[pk]

    async def _find(self, pk: str) -> IdempotencyRecord | None:
        async with self._provider.make_uow() as uow:
            return await uow.repository(IdempotencyRecord).find_by_id(pk)

    def _is_live(self, record: IdempotencyRecord) -> bool:
        return record.expires_at > self._clock()

    def _replay(self, record: IdempotencyRecord, fingerprint: str) -> HttpResponse:
        if record.fingerprint != fingerprint:
            raise self._mismatch()
        headers = tuple((name, value) for name, value in record.headers)
        return HttpResponse(record.status, (*headers, REPLAYED), record.body)

    def _busy(self, pk: str, fingerprint: str) -> HttpError:
        if self._in_flight[pk] != fingerprint:
            return self._mismatch()
        error = IdempotencyInFlightError(
            "the first request with this Idempotency-Key still runs; send it again in a moment",
            errors=[Fault("is in use", header="idempotency-key")],
            headers=[("retry-after", "1")],
        )
        error.http_status = self._in_flight_status
        return error

    def _mismatch(self) -> IdempotencyMismatchError:
        error = IdempotencyMismatchError(
            "this Idempotency-Key was used for another request; use a new one",
            errors=[Fault("was used before", header="idempotency-key")],
        )
        error.http_status = self._mismatch_status
        return error


async def idempotent(
    settings: Idempotency | None,
    request: HttpRequest,
    service: Any,
    respond: Respond,
    write: Write,
) -> HttpResponse:
    """Write once for each `Idempotency-Key`, where there are settings and a key.

    Raises:
        InvalidRequestError: A key is required, and there is none.
    """
    if settings is None:
        return await write(service)
    key = request.headers.get("idempotency-key")
    if key is not None:
        return await settings.run(key, request, service, respond, write)
    if settings.required:
        raise _invalid("the request needs an Idempotency-Key, a new one for each thing to be done")
    return await write(service)


class _Keeper:
    """Stores the answer in the transaction of the first write."""

    def __init__(
        self,
        pk: str,
        fingerprint: str,
        expires_at: datetime,
        expired: IdempotencyRecord | None,
        service: Any,
        respond: Respond,
    ) -> None:
        self._pk = pk
        self._fingerprint = fingerprint
        self._expires_at = expires_at
        self._expired = expired
        self._service = service
        self._respond = respond

    async def __call__(
        self, uow: AsyncUnitOfWork, ctx: AuthContext, changes: Sequence[EntityChange]
    ) -> None:
        del ctx
        answer = self._respond(self._service.to_read_dto(changes[0].after))
        repository = uow.repository(IdempotencyRecord)
        if self._expired is not None:
            await repository.delete(self._expired)
        await repository.save(
            IdempotencyRecord(
                pk=self._pk,
                fingerprint=self._fingerprint,
                status=answer.status,
                headers=[list(pair) for pair in answer.headers],
                body=answer.body,
                expires_at=self._expires_at,
            )
        )


def _witnessed(service: Any, keeper: _Keeper) -> Any:
    witnessed = getattr(service, "witnessed", None)
    if witnessed is None:
        raise HttpConfigError(
            f"{type(service).__name__} lets nobody take part in its transactions; derive it from "
            "AsyncService, or give the resource no idempotency"
        )
    return witnessed(keeper)


def _scoped(header: str, request: HttpRequest) -> str:
    """The hash of all that a key belongs to."""
    key = header.strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if _KEY.fullmatch(key) is None:
        raise _invalid("an Idempotency-Key is 1 to 255 visible characters of ASCII")
    if request.ctx.is_anonymous():
        raise _invalid("an Idempotency-Key belongs to a caller, and this one is not known")
    parts = (request.tenant, request.ctx.user_id, request.method, request.path, key)
    # The length of each goes first: no two lists of parts are one text.
    text = "".join("-" if part is None else f"{len(part)}:{part}" for part in parts)
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _invalid(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, errors=[Fault(message, header="idempotency-key")])
