"""The errors of varco-query.

QueryError                       query.error
├── QuerySyntaxError             query.syntax          the text is no filter
├── QueryLimitError              query.limit           longer, deeper or larger than allowed
├── UnknownFieldError            query.unknown_field   no such field, or not one you may use
├── OperationNotSupportedError   query.operation       the field does not allow the operation
├── CoercionError                query.coercion        the value does not fit the field's type
├── InvalidNodeError             query.node            a node or builder that means nothing
└── CursorError                  query.cursor          forged, damaged, or of another query
    └── CursorKeyError           query.cursor_key      signed by another key
"""

from collections.abc import Iterable
from typing import ClassVar, Self

_WINDOW = 76
_SHOWN_FIELDS = 20


def shorten(value: object, width: int = 60) -> str:
    """The repr of a value, cut so that a message stays readable."""
    if isinstance(value, str) and len(value) > width:
        shown = repr(value[:width])
    elif isinstance(value, int) and value.bit_length() > 4 * width:
        return f"an integer of {value.bit_length()} bits"
    else:
        shown = repr(value)
    return shown if len(shown) <= width else shown[: width - 1] + "…"


def join_words(words: Iterable[str], last: str = "or") -> str:
    """`a, b or c`."""
    listed = list(words)
    if len(listed) <= 1:
        return "".join(listed)
    return f"{', '.join(listed[:-1])} {last} {listed[-1]}"


def close_match(word: str, known: Iterable[str]) -> str | None:
    """The known word that a misspelt one most likely stands for."""
    import difflib  # noqa: PLC0415  # only an error needs it

    if len(word) > 100:  # noqa: PLR2004  # nobody misspells a name that long; the match is quadratic
        return None
    by_folded = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(word.casefold(), by_folded, n=1)
    return by_folded[found[0]] if found else None


class QueryError(Exception):
    """Base of every error of this package.

    Attributes:
        message: What was wrong and what would be right, without the place.
        text: The filter in which it happened, when it came from text.
        line: The line in the text, from 1.
        column: The column in the line, from 1.
    """

    code: ClassVar[str] = "query.error"
    http_status: ClassVar[int] = 400

    text: str | None = None
    line: int | None = None
    column: int | None = None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def at(self, text: str, offset: int) -> Self:
        """This error, placed at an offset of the text it came from."""
        before = text[:offset]
        self.text = text
        self.line = before.count("\n") + 1
        self.column = offset - (before.rfind("\n") + 1) + 1
        return self

    def caret(self) -> str:
        """The line of the text with a caret under the place; empty without a text."""
        if self.text is None or self.line is None or self.column is None:
            return ""
        line = self.text.split("\n")[self.line - 1]
        start = max(0, min(self.column - 1 - _WINDOW // 2, len(line) - _WINDOW))
        shown = line[start : start + _WINDOW]
        # A filter is untrusted: no control characters reach the terminal that shows the error.
        shown = "".join(c if c.isprintable() else " " for c in shown)
        prefix = "…" if start else ""
        suffix = "…" if start + _WINDOW < len(line) else ""
        return f"{prefix}{shown}{suffix}\n{' ' * (len(prefix) + self.column - 1 - start)}^"

    def __str__(self) -> str:
        if self.text is None:
            return self.message
        return f"{self.message} (line {self.line}, column {self.column})\n{self.caret()}"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args, dict(self.__dict__))


def _rebuild(
    cls: type[QueryError], args: tuple[object, ...], state: dict[str, object]
) -> QueryError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    return error


class QuerySyntaxError(QueryError):
    """The text is not a filter.

    Attributes:
        expected: What could have stood at the place, in words, such as `"a value"`.
        found: What stood there instead.
    """

    code = "query.syntax"

    def __init__(self, message: str, *, expected: tuple[str, ...] = (), found: str = "") -> None:
        super().__init__(message)
        self.expected = expected
        self.found = found


class QueryLimitError(QueryError):
    """The query is longer, deeper or larger than its `Limits` allow.

    Attributes:
        name: The name of the limit, an attribute of `Limits`.
        limit: Its value.
        actual: What the query asked for; None when counting stopped at the limit.
    """

    code = "query.limit"

    def __init__(self, name: str, limit: int, actual: int | None = None, hint: str = "") -> None:
        asked = "" if actual is None else f", this one has {actual}"
        super().__init__(f"the query is too large: {name} is {limit}{asked}{hint}")
        self.name = name
        self.limit = limit
        self.actual = actual


class UnknownFieldError(QueryError):
    """The field does not exist, or is not one that a query may use.

    Attributes:
        field: The field that was asked for.
        known: The fields there are.
        suggestion: The known field that was probably meant.
    """

    code = "query.unknown_field"

    def __init__(self, field: object, known: Iterable[str] = ()) -> None:
        self.field: str = field if isinstance(field, str) else repr(field)
        self.known: tuple[str, ...] = tuple(known)
        self.suggestion: str | None = close_match(self.field, self.known)
        meant = f"; did you mean {self.suggestion!r}?" if self.suggestion else ""
        if self.known:
            more = len(self.known) - _SHOWN_FIELDS
            shown = ", ".join(self.known[:_SHOWN_FIELDS]) + (
                f" and {more} more" if more > 0 else ""
            )
            meant += f" (the fields are {shown})"
        super().__init__(f"unknown field {shorten(self.field)}{meant}")


class OperationNotSupportedError(QueryError):
    """The operation does not exist, or the field does not allow it.

    Attributes:
        op: The operation.
        field: The field it was asked for, None when no field allows it.
        allowed: The operations that are allowed.
    """

    code = "query.operation"

    def __init__(self, op: object, field: str | None = None, allowed: Iterable[str] = ()) -> None:
        self.op: str = str(op)
        self.field = field
        self.allowed: tuple[str, ...] = tuple(str(each) for each in allowed)
        where = "" if field is None else f" on field {field!r}"
        super().__init__(
            f"operation {shorten(self.op)} is not allowed{where}"
            f"; use {join_words(self.allowed) or 'another field'}"
        )


class CoercionError(QueryError):
    """The value does not fit the type of the field.

    Attributes:
        field: The field.
        value: The value as it was given.
        expected: The type it should have had, in words.
        reason: Why it is not of the type, when that is not plain to see.
    """

    code = "query.coercion"

    def __init__(self, field: str, value: object, expected: str, reason: str = "") -> None:
        self.field = field
        self.value = value
        self.expected = expected
        self.reason = reason
        shown = f"{type(value).__name__} {shorten(value)}"
        because = f": {reason}" if reason else ""
        super().__init__(f"field {field!r} needs {expected}, not {shown}{because}")


class InvalidNodeError(QueryError):
    """A node, value, builder or sort that cannot mean anything."""

    code = "query.node"


class CursorError(QueryError):
    """The cursor is damaged, was not made with this key, or belongs to another query."""

    code = "query.cursor"


class CursorKeyError(CursorError):
    """The cursor was signed by another key: by a process that does not share this one's, say."""

    code = "query.cursor_key"
