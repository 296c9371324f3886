# ruff: noqa: S101 - this is a part of tests
"""Whether a document is one of OpenAPI 3.1."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, cast

from openapi_pydantic import OpenAPI

_LARGE = re.compile(r"(?<=: )-?\d{19}(?=[,}])")
_PARAMETER = re.compile(r"\{(\w+)\}")


def check_document(document: dict[str, Any]) -> None:
    """Check that a document is one of OpenAPI 3.1, and that all that it refers to is there.

    Args:
        document: As it is sent, read from JSON.
    """
    # Old pydantics take no whole number of over 64 bits for a number.
    text = json.dumps(document)
    read = OpenAPI.model_validate_json(_LARGE.sub(r"\g<0>.0", text))
    assert not read.model_extra, read.model_extra
    assert document["openapi"].startswith("3.1")
    objects = list(_objects(document))
    names = [item["operationId"] for item in objects if "operationId" in item]
    assert len(names) == len(set(names)), names
    for reference in [item["$ref"] for item in objects if "$ref" in item]:
        target: Any = document
        for name in reference.removeprefix("#/").split("/"):
            target = target[name]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            given = [
                each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"
            ]
            assert sorted(given) == sorted(_PARAMETER.findall(path)), (path, given)
            assert operation["responses"], path


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        found = cast("dict[str, Any]", value)
        yield found
        value = list(found.values())
    if isinstance(value, list):
        for each in cast("Iterable[Any]", value):
            yield from _objects(each)
