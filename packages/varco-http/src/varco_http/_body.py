"""Reading a body, from bytes to a checked model in one step."""

from collections.abc import Collection, Sequence
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from varco_http._errors import (
    BodyTooLargeError,
    Fault,
    InvalidBodyError,
    MediaTypeError,
    UnknownParameterError,
)
from varco_http._message import JSON, HttpRequest
from varco_http._problem import invalid_body

MAX_BODY: Final = 1_048_576
_ACCEPTS: Final = {"PATCH": "accept-patch", "QUERY": "accept-query"}  # RFC 5789, RFC 10008


def check_media_type(request: HttpRequest, allowed: Sequence[str] = (JSON,)) -> None:
    """Check that a body says that it is of a media type, and is not compressed or the like.

    Raises:
        MediaTypeError: It is of none of those allowed; a header of the answer says which.
    """
    coding = request.headers.get("content-encoding")
    if coding is not None and coding.strip().lower() not in {"", "identity"}:
        raise MediaTypeError(
            f"the body has to be sent as it is, not in the coding {coding[:60]!r}",
            errors=[Fault("is a coding that is not taken", header="content-encoding")],
            headers=[("accept-encoding", "identity")],
        )
    given = request.headers.get("content-type", "")
    if given in allowed or given.partition(";")[0].strip().lower() in allowed:
        return
    known = ", ".join(allowed)
    header = _ACCEPTS.get(request.method, "accept-post")
    shown = f"not {given[:60]!r}" if given else "and the request names none"
    raise MediaTypeError(
        f"the body has to be {known}, {shown}",
        errors=[Fault("is of another media type", header="content-type")],
        headers=[(header, known)],
    )


def check_size(request: HttpRequest, most: int) -> None:
    """Check that a body is not too long.

    Raises:
        BodyTooLargeError: It has more bytes.
    """
    if len(request.body) > most:
        raise BodyTooLargeError(f"the body has over {most} bytes")


def check_no_query(request: HttpRequest) -> None:
    """Check that there are no query parameters.

    Raises:
        UnknownParameterError: There is one.
    """
    if request.query:
        name = request.query[0][0][:60]
        message = f"unknown parameter {name!r} (this operation has none)"
        raise UnknownParameterError(message, errors=[Fault(message, parameter=name)])


def read_json(adapter: TypeAdapter[Any], body: bytes) -> Any:
    """What a body holds, checked.

    Raises:
        InvalidRequestError: It is no JSON.
        InvalidBodyError: It is not of the type.
    """
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        raise invalid_body(error, body) from None


def refuse_fields(names: Collection[str], reason: str) -> None:
    """Refuse fields of a body by name.

    Raises:
        InvalidBodyError: There is one.
    """
    if names:
        faults = [Fault(reason, f"/{name}") for name in sorted(names)]
        raise InvalidBodyError("the body does not fit the operation", errors=faults)
