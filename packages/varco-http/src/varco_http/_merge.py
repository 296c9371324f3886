"""JSON merge patch (RFC 7396)."""

from typing import Any, cast


def merge_patch(target: Any, patch: Any) -> Any:
    """What a patch makes of a JSON value; neither is changed.

    Members of objects are set one by one and null removes one; every other value, lists included,
    takes the place of what was there. The depth of a patch is not limited: it takes no recursion.
    """
    if not isinstance(patch, dict):
        return patch
    result: dict[str, Any] = _copy(target)
    waiting: list[tuple[dict[str, Any], dict[str, Any]]] = [(result, cast("dict[str, Any]", patch))]
    while waiting:
        into, members = waiting.pop()
        for name, value in members.items():
            if value is None:
                into.pop(name, None)
            elif isinstance(value, dict):
                into[name] = _copy(into.get(name))
                waiting.append((into[name], cast("dict[str, Any]", value)))
            else:
                into[name] = value
    return result


def _copy(value: Any) -> dict[str, Any]:
    return dict(cast("dict[str, Any]", value)) if isinstance(value, dict) else {}
