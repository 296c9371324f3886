"""Keyset cursors: where the next page begins, as a string that cannot be forged."""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace
from typing import Final

from varco_query._compare import plain
from varco_query._errors import CursorError, CursorKeyError, InvalidNodeError, QueryError
from varco_query._json import dump_json, load_json
from varco_query._node import AndNode, to_flat
from varco_query._params import QueryParams
from varco_query._rows import reader
from varco_query._sort import keyset_node
from varco_query._value import Value, check_scalar

_VERSION: Final = "varco-query cursor 2"
_MARK_BYTES: Final = 4
_MAC_BYTES: Final = 16
_MIN_KEY_BYTES: Final = 16
_MAX_LENGTH: Final = 2_048


class CursorCodec:
    """Makes and reads cursors that are signed, and bound to a filter and a sort.

    A cursor holds the last row's values of the sort keys, readable by who decodes it: do not sort
    by secrets. Immutable; one may serve all threads.

    Args:
        key: The secret that signs, at least 16 bytes.

    Raises:
        ValueError: The key is too short.
    """

    def __init__(self, key: str | bytes) -> None:
        secret = key.encode() if isinstance(key, str) else key
        if len(secret) < _MIN_KEY_BYTES:
            raise ValueError(f"a cursor key needs {_MIN_KEY_BYTES} bytes, not {len(secret)}")
        self._key: Final = secret
        # Tells a cursor of another key from a damaged one; it proves nothing.
        self._mark: Final = hmac.digest(secret, _VERSION.encode(), "sha256")[:_MARK_BYTES]

    def after(self, params: QueryParams, row: object) -> str:
        """The cursor of the page that begins after a row of the page of `params`.

        Raises:
            InvalidNodeError: There is no sort, or a value is none that queries know.
            UnknownFieldError: The row has no such field.
            CursorError: The values are too long.
        """
        if not params.sort:
            raise InvalidNodeError("a cursor needs a sort; end it with the primary key")
        values = [_scalar(reader(each.field)(row)) for each in params.sort]
        payload = dump_json(values).encode()
        raw = self._mark + self._sign(params, payload) + payload
        cursor = urlsafe_b64encode(raw).rstrip(b"=").decode()
        if len(cursor) > _MAX_LENGTH:
            raise CursorError(f"the sort's values are too long for a cursor: {len(cursor)}")
        return cursor

    def values(self, params: QueryParams) -> tuple[Value, ...]:
        """The values that the cursor of `params` holds, one for each sort key.

        Raises:
            CursorKeyError: It was signed by another key.
            CursorError: It is damaged, or is of another query.
        """
        cursor = params.cursor or ""
        if not cursor or len(cursor) > _MAX_LENGTH or not cursor.isascii():
            raise CursorError("this is no cursor; begin at the first page")
        try:
            raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        except ValueError:
            raise CursorError("this is no cursor; begin at the first page") from None
        begin = _MARK_BYTES + _MAC_BYTES
        mark, mac, payload = raw[:_MARK_BYTES], raw[_MARK_BYTES:begin], raw[begin:]
        # The same bytes can be written in several ways; only ours is a cursor.
        canonical = urlsafe_b64encode(raw).rstrip(b"=").decode() == cursor
        if canonical and len(raw) > begin and mark != self._mark:
            raise CursorKeyError("the cursor was signed by another key; begin at the first page")
        if not canonical or not hmac.compare_digest(mac, self._sign(params, payload)):
            raise CursorError("the cursor is not of this query; begin at the first page")
        return tuple([_scalar(value) for value in load_json(payload, _MAX_LENGTH)])

    def resolve(self, params: QueryParams) -> QueryParams:
        """The params without a cursor whose filter selects what comes after it.

        Without a cursor, the params themselves.

        Raises:
            CursorError: As for `values`.
        """
        if params.cursor is None:
            return params
        values = self.values(params)
        try:
            after = keyset_node(params.sort, values)
        except QueryError as error:
            raise CursorError(f"the cursor does not fit the sort: {error.message}") from None
        node = after if params.node is None else AndNode(params.node, after)
        return replace(params, node=node, cursor=None)

    def _sign(self, params: QueryParams, payload: bytes) -> bytes:
        sort = [(each.field, each.order.value) for each in params.sort]
        node = None if params.node is None else to_flat(params.node)
        bound = dump_json([_VERSION, sort, node]).encode()
        # The hash first: nothing of the filter can then be taken for a part of the values.
        signed = hashlib.sha256(bound).digest() + payload
        return hmac.digest(self._key, signed, "sha256")[:_MAC_BYTES]


def _scalar(value: object) -> Value:
    return None if value is None else check_scalar(plain(value))
