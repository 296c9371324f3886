"""From an error to what a web layer answers."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any, cast

from varco_domain.exception._codes import ErrorCode, FastrestErrorCodes

_CLIENT_ERRORS = range(400, 500)
_DEFAULTS = {code.code: code.value for code in FastrestErrorCodes}
# One title for each status, whichever error it is: what was wrong this time is the detail.
_TITLES = {code.http_status: code.default_message for code in FastrestErrorCodes}
# Written under _lock at start-up, replaced as a whole, read without.
_registered: dict[type[BaseException], ErrorCode] = {}
_lock = Lock()

PROBLEM_MEDIA_TYPE = "application/problem+json"
"""The media type of what `problem_for` makes."""


@dataclass(frozen=True, slots=True)
class ErrorMessage:
    """What may be sent to the outside about an error.

    `message` is the code's own (or its translation); `detail` says what was wrong this time and
    is None for server errors.
    """

    code: str
    http_status: int
    message: str
    detail: str | None = None


def error_code_for(exc: BaseException) -> ErrorCode:
    """The code of an error: a registered one, or its class's `code` and `http_status`.

    Any error of any varco slice, or of an application, that has the two attributes is covered; all
    others are internal errors.
    """
    for cls in type(exc).__mro__:
        if cls in _registered:
            return _registered[cls]
    code, status = getattr(exc, "code", None), getattr(exc, "http_status", None)
    if isinstance(code, str) and isinstance(status, int):
        known = _DEFAULTS.get(code)
        if known is not None and known.http_status == status:
            return known
        return ErrorCode(code, status, _title(status))
    return FastrestErrorCodes.INTERNAL_ERROR.value


def error_message_for(
    exc: BaseException, *, translator: Callable[[str], str] | None = None
) -> ErrorMessage:
    """What may be sent about an error.

    Args:
        exc: The error.
        translator: Gives the message for a code in the caller's language.
    """
    code = error_code_for(exc)
    message = translator(code.code) if translator else code.default_message
    return ErrorMessage(code.code, code.http_status, message, _detail(exc, code))


def problem_for(
    exc: BaseException,
    *,
    instance: str | None = None,
    translator: Callable[[str], str] | None = None,
) -> dict[str, Any]:
    """An RFC 9457 problem body for an error; send it as `application/problem+json`.

    Validation errors carry their single errors as `errors`.
    """
    message = error_message_for(exc, translator=translator)
    body: dict[str, Any] = {
        "type": f"urn:varco:error:{message.code}",
        "title": message.message,
        "status": message.http_status,
        "code": message.code,
    }
    if message.detail is not None:
        body["detail"] = message.detail
    if instance is not None:
        body["instance"] = instance
    errors = getattr(exc, "errors", ())
    if message.http_status in _CLIENT_ERRORS and isinstance(errors, tuple):
        found = cast("tuple[object, ...]", errors)
        single = [_single(error) for error in found if hasattr(error, "message")]
        if single:
            body["errors"] = single
    return body


def register_error_code(exception_cls: type[BaseException], error_code: ErrorCode) -> None:
    """Give an error class, and its subclasses, another code. Safe to call from several threads."""
    global _registered  # noqa: PLW0603 - replaced as a whole, so that readers need no lock
    with _lock:
        _registered = {**_registered, exception_cls: error_code}


def _detail(exc: BaseException, code: ErrorCode) -> str | None:
    if code.http_status not in _CLIENT_ERRORS:
        return None
    for name in ("public_message", "safe_message"):
        message = getattr(exc, name, None)
        if isinstance(message, str):
            return message
    return str(exc)


def _single(error: Any) -> dict[str, Any]:
    single: dict[str, Any] = {"message": error.message}
    for name in ("field", "index"):
        value = getattr(error, name, None)
        if value is not None:
            single[name] = value
    return single


def _title(status: int) -> str:
    from http import HTTPStatus  # noqa: PLC0415 - only for errors without a message of their own

    try:
        return _TITLES.get(status) or HTTPStatus(status).phrase
    except ValueError:
        return "Error"
