"""Runs every benchmark beside this file, each in a process of its own, and prints the tables.

With `--write docs/performance.md` it also writes the page of the site with these very figures; the
sections of slices that were not measured stay as they are.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from _harness import Row, ratios, render, shown

HERE = Path(__file__).parent

INTRODUCTION = """\
# Performance

What the benchmarks printed. Contenders of one table are processes that were measured in turn within
one run; the last column is varco's figure divided by theirs, so below 1 means less time. Compare
ratios: times are one machine's, and single runs vary by some percent. The page is written by the
run itself:

```sh
uv run --group bench python scripts/bench/run.py --write docs/performance.md
```
"""


def main() -> int:
    names = sorted(p.stem for p in HERE.glob("*.py") if p.stem not in {"_harness", "run"})
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slice", nargs="*", help=f"any of: {', '.join(names)} (default: all)")
    parser.add_argument("--filter", default="", help="only groups whose name contains this text")
    parser.add_argument("--write", type=Path, help="the Markdown page to write")
    options = parser.parse_args()
    unknown = set(options.slice) - set(names)
    if unknown:
        parser.error(
            f"no benchmark named {', '.join(sorted(unknown))}; there are {', '.join(names)}"
        )
    worst = 0
    measured: dict[str, tuple[list[Row], str]] = {}
    for name in options.slice or names:
        print(f"\n== {name}", flush=True)
        command = [sys.executable, str(HERE / f"{name}.py"), "--json", "--filter", options.filter]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            worst = max(worst, abs(done.returncode))
            continue
        found = json.loads(done.stdout)
        measured[name] = [Row(**fields) for fields in found["rows"]], found["floor"]
        print(render(*measured[name]), flush=True)
    if options.write:
        before = options.write.read_text(encoding="utf-8") if options.write.exists() else ""
        options.write.write_text(page(measured, before), encoding="utf-8")
    return worst


def page(measured: dict[str, tuple[list[Row], str]], before: str) -> str:
    """The page with what was measured, and the other sections as they were."""
    sections = dict(part.split("\n", 1) for part in before.split("\n## ")[1:])
    for name, (rows, floor) in measured.items():
        heading = f"varco-{name.removesuffix('_backend').rstrip('_').replace('_', '-')}"
        sections[heading] = section(rows, floor)
    body = "".join(f"\n## {heading}\n{sections[heading]}" for heading in sorted(sections))
    return INTRODUCTION + body


def section(rows: list[Row], floor: str) -> str:
    date, cores = dt.datetime.now(dt.UTC).date(), os.cpu_count()
    lines = [
        "",
        f"{date}, {cores} cores, CPython {platform.python_version()}, {platform.system()}.",
    ]
    for group in dict.fromkeys(row.group for row in rows):
        above = f" | above the {floor}" if floor else ""
        lines += ["", f"### {group}", "", f"| | | varco / it{above} |"]
        lines.append("|---|--:|--:|--:|" if floor else "|---|--:|--:|")
        inside = [row for row in rows if row.group == group]
        for row in inside:
            label = f"**{row.name}**" if row.ours else row.name
            value = row.note if row.value is None else shown(row.value, row.unit)
            cells = [label, value, *ratios(row, inside, floor)[: 2 if floor else 1]]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
