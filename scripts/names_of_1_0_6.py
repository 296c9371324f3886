"""Writes the page of the names of varco-core 1.0.6 and what each does now; `--check` only compares.

`names_of_1_0_6.json` holds the names, their kinds and their parameters: facts, read from what was
published. What a name does now is what it does when this runs.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import sys
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
NAMES = Path(__file__).with_suffix(".json")
PAGE = ROOT / "docs" / "reference" / "names-of-1.0.6.md"
HEAD = """\
# The names of varco-core 1.0.6

Every public name of the version that was published, under the path that it had there, and what it
does now. `scripts/names_of_1_0_6.py` writes this page by importing each. What behaves differently
is on the page of [the migration](../how-to/migrate.md).

{works} of {all} names work under their old path, {moved} of them by another name with a warning;
{gone} say what to use instead.
"""


def now(module: str, name: str) -> tuple[str, Any]:
    """What an old name is: ("works", it), ("moved", it) or ("gone", the message)."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            found = getattr(importlib.import_module(module), name)
        except AttributeError as error:
            return "gone", str(error).partition(": ")[2] or str(error)
    renamed = any(each.category is DeprecationWarning for each in told)
    return ("moved" if renamed else "works"), found


def home(found: Any, name: str) -> str:
    """The public module of a slice that has an object under this name."""
    for slice_name in ("query", "resilience", "auth_jwt", "domain", "events", "cache"):
        module = importlib.import_module(f"varco_{slice_name}")
        for public in (name, getattr(found, "__name__", "")):
            if public in module.__all__ and getattr(module, public) is found:
                return f"`varco_{slice_name}.{public}`"
    backend = importlib.import_module("varco_domain.backend")
    if name in backend.__all__:
        return f"`varco_domain.backend.{name}`"
    return f"`{found.__module__}.{name}`" if hasattr(found, "__module__") else "a constant"


def dropped(found: Any, parameters: list[str]) -> list[str]:
    """The parameters that a call may not have any more."""
    try:
        known = inspect.signature(found).parameters
    except (TypeError, ValueError):
        return []
    if any(each.kind is each.VAR_KEYWORD for each in known.values()):
        return []
    return [name for name in parameters if name not in known]


def page() -> str:
    entries: list[dict[str, Any]] = json.loads(NAMES.read_text(encoding="utf-8"))
    counts = {"works": 0, "moved": 0, "gone": 0}
    lines: list[str] = []
    module = ""
    for entry in entries:
        if entry["module"] != module:
            module = entry["module"]
            lines += ["", f"## {module}", "", "| name | now |", "|---|---|"]
        kind, found = now(module, entry["name"])
        counts[kind] += 1
        if kind == "gone":
            text = found
        else:
            text = home(found, entry["name"])
            without = [] if kind == "moved" else dropped(found, entry["parameters"])
            if without:
                text += f", without {', '.join(f'`{name}`' for name in without)}"
        lines.append(f"| `{entry['name']}` | {text.replace('|', '&#124;')} |")
    head = HEAD.format(
        all=len(entries),
        works=counts["works"] + counts["moved"],
        moved=counts["moved"],
        gone=counts["gone"],
    )
    return head + "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if outdated")
    options = parser.parse_args()
    text = page()
    if not options.check:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        print(f"outdated: {PAGE.relative_to(ROOT)}; run scripts/names_of_1_0_6.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
