"""base64url and JSON, read strictly: one text for one value, and nothing that is not JSON."""

from __future__ import annotations

import json
import re
from binascii import a2b_base64, b2a_base64
from math import isinf
from typing import Any, NoReturn, cast

MAX_DEPTH = 32

# A string, be it closed or not; possessive, so that nobody can make it try twice.
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.?)*+"?', re.DOTALL)
_TO_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))

# Standard alphabet for binascii; its own '+', '/' and '=' become NUL, which strict mode refuses.
_TO_STANDARD = bytes.maketrans(b"-_+/=", b"+/\0\0\0")
_TO_URLSAFE = bytes.maketrans(b"+/", b"-_")
# The last characters that leave no stray bits, by the length of the last group.
_LAST = {2: frozenset(b"AQgw"), 3: frozenset(b"AEIMQUYcgkosw048")}


def b64decode(text: bytes) -> bytes:
    """Decode base64url without padding; ValueError for all but the one canonical text."""
    group = len(text) & 3
    if not group:
        return a2b_base64(text.translate(_TO_STANDARD), strict_mode=True)
    if group == 1 or text[-1] not in _LAST[group]:
        raise ValueError("not canonical base64url")
    return a2b_base64(text.translate(_TO_STANDARD) + b"=="[: 4 - group], strict_mode=True)


def b64encode(data: bytes) -> bytes:
    """Encode as base64url without padding."""
    return b2a_base64(data, newline=False).translate(_TO_URLSAFE).rstrip(b"=")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name stands twice in one JSON object")
    return value


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _float(text: str) -> float:
    value = float(text)
    if isinf(value):
        raise ValueError("a number is too large")
    return value


_decode = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_float=_float
).decode
_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=True
).encode


def json_object(data: bytes) -> dict[str, Any]:
    """Read one JSON object.

    Raises:
        ValueError: it is no JSON object in UTF-8, nests deeper than `MAX_DEPTH`, names a member
            twice, or holds a constant that JSON does not have, or a number beyond all floats.
    """
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH and _is_too_deep(data):
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    value: object = _decode(data.decode())
    if type(value) is not dict:
        raise ValueError("not a JSON object")
    return cast("dict[str, Any]", value)


def _is_too_deep(data: bytes) -> bool:
    """Whether the nesting is deeper than `MAX_DEPTH`, or does not end.

    Strangers choose what it is, and so it neither recurses nor looks at each byte in Python.
    """
    brackets = _STRINGS.sub(b"", data).translate(_TO_BRACKETS, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):
        before = len(brackets)
        brackets = brackets.replace(b"[]", b"")  # the innermost level
        if len(brackets) == before:
            break
    return bool(brackets)


def json_bytes(value: object) -> bytes:
    """Write JSON without spaces; ValueError, TypeError or RecursionError if JSON cannot hold it."""
    return _encode(value).encode()
