"""What of a payload is shown."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from pydantic_core import from_json, to_json

from varco_console._errors import RefusedError
from varco_events import EventEnvelope, event_class

MASK: Final = "••••••"
_SECRET_WORDS: Final = ("auth", "cookie", "token", "secret", "password", "passwd", "credential")
_MEMBERS: Final = ("type", "version", "data")
_LONGEST: Final = 200_000

type Path = tuple[str | int, ...]
"""Where a value stands: names and positions from the outside in."""
type Hides = Callable[[EventEnvelope, Path], bool]
"""Whether a value is hidden: `("data", "card", "number")` of a payload, `("headers", "cookie")`.

It is asked for every member and item from the outside in; what is inside a hidden one is hidden.
"""


def hidden_by_hints(envelope: EventEnvelope, path: Path) -> bool:
    """Hide fields whose `FieldHint` says `sensitive=True`, and headers that sound like secrets.

    Fields are looked up in the event's class; of a type that this process has no class of, all
    fields are hidden.
    """
    match path:
        case ("headers", str(name)):
            return any(word in name.lower() for word in _SECRET_WORDS)
        case ("data", *inside):
            cls = event_class(envelope.event_type)
            return cls is None or (bool(inside) and _is_sensitive(cls, inside))
        case _:
            return False


def _is_sensitive(cls: Any, path: Sequence[str | int]) -> bool:
    """Whether the class, or one that its annotations name, marks a step of a path."""
    models = [cls]
    for step in path:
        if not isinstance(step, str):  # an item of a list is as its list
            continue
        found = [one.model_fields[step] for one in models if step in one.model_fields]
        if any(getattr(hint, "sensitive", False) for field in found for hint in field.metadata):
            return True
        models = [one for field in found for one in _models_in(field.annotation)]
    return False


def _models_in(annotation: Any) -> Iterable[Any]:
    """The models that an annotation names, at any depth."""
    pending, seen = [annotation], 0
    while pending and seen < 100:  # noqa: PLR2004  # annotations are written by people
        seen += 1
        one = pending.pop()
        if hasattr(one, "model_fields"):
            yield one
        pending.extend(getattr(one, "__args__", ()))


@dataclass(frozen=True, slots=True)
class Shown:
    """A payload as it is shown.

    Attributes:
        text: JSON, indented; None when the payload cannot be shown.
        why: Why not.
        hidden: How many values are hidden.
    """

    text: str | None
    why: str = ""
    hidden: int = 0


def show(envelope: EventEnvelope, hides: Hides) -> Shown:
    """The fields of an event, without what is hidden."""
    fields = fields_of(envelope)
    if fields is None:
        return Shown(None, f"These {len(envelope.payload):,} bytes are not JSON of an event.")
    paths = hidden_paths(fields, envelope, hides)
    if () in paths:
        return Shown(
            None,
            f"This process has no class of {envelope.event_type!r}, so nothing tells which fields "
            "are secret. Import the class, or give the console its own `hides`.",
        )
    masked = masked_at(fields, paths)
    return Shown(to_json(masked, indent=2).decode("utf-8", "replace"), hidden=len(paths))


def fields_of(envelope: EventEnvelope) -> Any:
    """The fields in a payload; None when it is not JSON of an event, or too long for a page."""
    if len(envelope.payload) > _LONGEST:
        return None
    try:
        read = from_json(envelope.payload)
    except ValueError:
        return None
    if not isinstance(read, dict):
        return None
    members = cast("dict[str, Any]", read)
    return members.get("data") if set(_MEMBERS) <= set(members) else members


def shown_headers(envelope: EventEnvelope, hides: Hides) -> dict[str, str]:
    """The headers, without what is hidden."""
    return {
        name: MASK if hides(envelope, ("headers", name)) else value
        for name, value in sorted(envelope.headers.items())
    }


def hidden_paths(fields: Any, envelope: EventEnvelope, hides: Hides) -> list[Path]:
    """The outermost paths in the fields that are hidden."""
    found: list[Path] = []
    pending: list[tuple[Path, Any]] = [((), fields)]
    while pending:
        path, value = pending.pop()
        if hides(envelope, ("data", *path)):
            found.append(path)
        elif isinstance(value, dict):
            members = cast("Mapping[str, Any]", value)
            pending.extend(((*path, name), inner) for name, inner in members.items())
        elif isinstance(value, list):
            items = cast("Sequence[Any]", value)
            pending.extend(((*path, number), inner) for number, inner in enumerate(items))
    return found


def masked_at(fields: Any, paths: Iterable[Path]) -> Any:
    """A copy of the fields with a mask at each of the paths."""
    copy = from_json(to_json(fields))
    for path in paths:
        _at(copy, path[:-1])[path[-1]] = MASK
    return copy


def edited_payload(envelope: EventEnvelope, text: str, hides: Hides) -> bytes:
    """The payload with the fields that somebody has edited; what is masked stays as it was.

    Raises:
        RefusedError: it is no JSON object, or a mask stands where nothing was hidden.
    """
    fields = fields_of(envelope)
    if fields is None:
        raise _wrong("This payload is not JSON of an event, and cannot be edited here.")
    try:
        edited = from_json(text)
    except ValueError as error:
        raise _wrong(f"This is not JSON: {error}.") from error
    if not isinstance(edited, dict):
        raise _wrong("The fields of an event are a JSON object: { … }.")
    for path in hidden_paths(fields, envelope, hides):
        try:
            holder = _at(edited, path[:-1])
            if holder[path[-1]] == MASK:
                holder[path[-1]] = _at(fields, path)
        except (KeyError, IndexError, TypeError):
            continue  # it was taken out
    if MASK in to_json(edited).decode():
        raise _wrong(f"{MASK} stands where nothing was hidden; put the real value there.")
    whole: dict[str, Any] = from_json(envelope.payload)
    return to_json({**whole, "data": edited} if set(_MEMBERS) <= set(whole) else edited)


def _at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


def _wrong(remedy: str) -> RefusedError:
    return RefusedError(422, "The payload was not saved", remedy)
