"""The quickstart's input: rows about packages, from this environment or from a table in a file."""

from __future__ import annotations

import csv
import json
import re
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = ("name", "version", "summary", "license", "requirements", "files", "bytes", "newest")


class InputError(Exception):
    """A table that cannot be read; the message says where and what would be right."""


def installed() -> Iterator[dict[str, Any]]:
    """One row for each distribution installed in this environment."""
    seen: set[str] = set()
    for dist in distributions():
        name = re.sub(r"[-_.]+", "-", dist.name or "").lower()
        if name and name not in seen:  # the first one on sys.path is the one that is imported
            seen.add(name)
            yield {"name": name, **_described(dist)}


def _described(dist: Distribution) -> dict[str, Any]:
    count, size, newest = 0, 0, 0.0
    for file in dist.files or ():
        try:
            status = Path(str(file.locate())).stat()
        except OSError:
            continue  # a record may list compiled files that were never written
        count, size, newest = count + 1, size + status.st_size, max(newest, status.st_mtime)
    return {
        "version": dist.version,
        "summary": (dist.metadata.get("Summary") or "").strip(),
        "license": _license(dist),
        "requirements": len(dist.requires or ()),
        "files": count,
        "bytes": size,
        "newest": datetime.fromtimestamp(newest, UTC) if count else None,
    }


def _license(dist: Distribution) -> str:
    """The SPDX expression, or a short `License` field, or the classifier, or "unknown"."""
    metadata = dist.metadata
    stated = metadata.get("License-Expression") or metadata.get("License") or ""
    if stated and "\n" not in stated and len(stated) <= 60 and stated.upper() != "UNKNOWN":
        return str(stated).strip()
    for classifier in metadata.get_all("Classifier") or ():
        if classifier.startswith("License ::"):
            return str(classifier).rpartition(" :: ")[2]
    return "unknown"


def from_file(path: Path) -> list[dict[str, Any]]:
    """The rows of a .csv or .jsonl table with the columns of `COLUMNS`.

    Raises:
        InputError: the file cannot be read, is of another kind, or lacks a column.
    """
    readers = {".csv": _csv_rows, ".jsonl": _jsonl_rows}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: expected a file that ends in .csv or .jsonl")
    rows: list[dict[str, Any]] = []
    try:
        for line, row in reader(path):
            # No file of a package may be on this disk, so only the newest time can be absent.
            row["newest"] = row.get("newest") or None
            if missing := [name for name in COLUMNS[:-1] if row.get(name) is None]:
                listed = ", ".join(COLUMNS)
                raise InputError(f"{path}:{line}: no {', '.join(missing)}; a row has {listed}")
            rows.append({column: row[column] for column in COLUMNS})
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: {error}") from error
    return rows


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        for row in reader:
            yield reader.line_num, row


def _jsonl_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8") as file:
        for line, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except ValueError as error:
                raise InputError(f"{path}:{line}: not JSON: {error}") from error
            if not isinstance(row, dict):
                raise InputError(f"{path}:{line}: expected an object, one a line")
            yield line, row
