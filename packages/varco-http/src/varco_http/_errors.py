"""The errors of this package.

HttpError                         http.error
├── InvalidRequestError           400  http.invalid_request        header, parameter or text of JSON
│   └── UnknownParameterError     400  http.unknown_parameter
├── UnauthenticatedError          401  http.unauthenticated        no credentials, or wrong ones
├── TenantRefusedError            403  http.tenant                 no tenant, or another's
├── IdempotencyInFlightError      409  http.idempotency_in_flight  the first request still runs
├── PreconditionFailedError       412  http.precondition_failed    an ETag is not the current one
├── BodyTooLargeError             413  http.body_too_large
├── MediaTypeError                415  http.media_type
├── InvalidBodyError              422  http.invalid_body           JSON that does not fit the schema
├── IdempotencyMismatchError      422  http.idempotency_mismatch   the key was used for another body
├── PreconditionRequiredError     428  http.precondition_required  If-Match is missing
└── HttpConfigError               500  http.config                 a declaration that cannot work
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a request.

    Attributes:
        message: What is wrong.
        pointer: Where in the body, as a JSON pointer (RFC 6901).
        parameter: In which query parameter.
        header: In which header.
    """

    message: str
    pointer: str | None = None
    parameter: str | None = None
    header: str | None = None


class HttpError(Exception):
    """Base of the errors of this package; the message may be sent to the outside.

    Attributes:
        errors: What is wrong, one by one.
        headers: Headers that an answer of this error has.
    """

    code: ClassVar[str] = "http.error"
    http_status: int = 500

    def __init__(
        self,
        message: str,
        *,
        errors: Iterable[Fault] = (),
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.errors: tuple[Fault, ...] = tuple(errors)
        self.headers: tuple[tuple[str, str], ...] = tuple(headers)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, dict(self.__dict__))


def _rebuild(cls: type[HttpError], args: tuple[Any, ...], state: dict[str, Any]) -> HttpError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    return error


class InvalidRequestError(HttpError):
    """A header, a parameter or the text of a body means nothing."""

    code = "http.invalid_request"
    http_status = 400


class UnknownParameterError(InvalidRequestError):
    """A query parameter is none that the operation takes: a misspelt filter selects everything."""

    code = "http.unknown_parameter"


class UnauthenticatedError(HttpError):
    """There are no credentials, or some that cannot be checked or are wrong.

    `headers` hold the challenges of RFC 9110 (`WWW-Authenticate`).
    """

    code = "http.unauthenticated"
    http_status = 401


class TenantRefusedError(HttpError):
    """The request names no tenant, or one that its caller is not of."""

    code = "http.tenant"
    http_status = 403


class IdempotencyInFlightError(HttpError):
    """The first request with this key still runs."""

    code = "http.idempotency_in_flight"
    http_status = 409


class PreconditionFailedError(HttpError):
    """What is stored is not what `If-Match` or `If-None-Match` demands (RFC 9110)."""

    code = "http.precondition_failed"
    http_status = 412


class BodyTooLargeError(HttpError):
    """The body, or the text of the query, is longer than the operation takes."""

    code = "http.body_too_large"
    http_status = 413


class MediaTypeError(HttpError):
    """The body is of a media type that the operation does not take."""

    code = "http.media_type"
    http_status = 415


class InvalidBodyError(HttpError):
    """The body is JSON, but not what the operation takes; `errors` point to each place."""

    code = "http.invalid_body"
    http_status = 422


class IdempotencyMismatchError(HttpError):
    """The key was used before, for a request that was another one."""

    code = "http.idempotency_mismatch"
    http_status = 422


class PreconditionRequiredError(HttpError):
    """The operation demands `If-Match` (RFC 6585)."""

    code = "http.precondition_required"
    http_status = 428


class HttpConfigError(HttpError, TypeError):
    """A declaration that cannot work; raised where it is made."""

    code = "http.config"
