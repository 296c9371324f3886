"""The open streams of one connection."""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from varco_domain.uow import UnitOfWorkError

_ROWS: Final = 500


class Streams:
    """Results that are read a part at a time, from cursors of the server. Belongs to one task."""

    def __init__(self, *, one_result: bool) -> None:
        # Whether the connection has one result at a time: the others are then read ahead.
        self._one_result = one_result
        self._ahead: dict[sa.CursorResult[Any], list[Any]] = {}

    def open(
        self, connection: sa.Connection, statement: Any, values: dict[str, Any]
    ) -> sa.CursorResult[Any]:
        """Begin to read what a statement selects."""
        options: Any = {"stream_results": True, "max_row_buffer": _ROWS}
        result = connection.execute(statement, values, execution_options=options)
        self._ahead[result] = []
        return result

    def rows(self, result: sa.CursorResult[Any]) -> Sequence[Any]:
        """The next rows; none at the end.

        Raises:
            UnitOfWorkError: The transaction that the stream read in has ended.
        """
        ahead = self._ahead.get(result)
        if ahead is None:
            raise UnitOfWorkError("this stream ended with the transaction that it read in")
        if ahead:
            rows = ahead[:_ROWS]
            del ahead[:_ROWS]
            return rows
        return result.fetchmany(_ROWS)

    def make_way(self) -> None:
        """Let another statement run on the connection."""
        if self._one_result:
            for result, ahead in self._ahead.items():
                ahead.extend(result.fetchall())

    def is_open(self, result: sa.CursorResult[Any]) -> bool:
        """Whether a stream has not ended."""
        return result in self._ahead

    def forget(self, result: sa.CursorResult[Any]) -> bool:
        """Whether the stream was open; it no longer is, and its result is to be closed."""
        return self._ahead.pop(result, None) is not None

    def close(self) -> None:
        """End all streams."""
        while self._ahead:
            self._ahead.popitem()[0].close()
