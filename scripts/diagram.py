"""Draw who imports whom between the distributions, from their source, into docs/dependencies.svg.

    diagram.py             draw it anew
    diagram.py --check     write nothing; fail when the picture is outdated

A line is an import that a plain installation makes; a dashed line one that an extra allows.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "dependencies.svg"
WIDTH, HEIGHT, COLUMN, ROW = 150, 44, 186, 120
PROJECTS = {
    path.parent.name: tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    for path in sorted(ROOT.glob("packages/*/pyproject.toml"))
}

Edge = tuple[str, str]


def edges() -> set[Edge]:
    """Which distribution's code imports which."""
    modules = {name.replace("-", "_"): name for name in PROJECTS}
    graph = grimp.build_graph(*modules, exclude_type_checking_imports=False)
    found: set[Edge] = set()
    for module in graph.modules:
        for other in graph.find_modules_directly_imported_by(module):
            here, there = modules[module.split(".")[0]], modules[other.split(".")[0]]
            if here != there:
                found.add((here, there))
    return found


def required(name: str) -> set[str]:
    return {
        match[0] for text in PROJECTS[name]["dependencies"] if (match := re.match(r"[\w-]+", text))
    }


def levels(plain: set[Edge]) -> dict[str, int]:
    """Leaves are on level 0; everything else one above the highest that it requires."""
    level = dict.fromkeys(PROJECTS, 0)
    for _ in PROJECTS:
        for here, there in plain:
            level[here] = max(level[here], level[there] + 1)
    return level


def draw() -> str:
    found = edges()
    plain = {(here, there) for here, there in found if there in required(here)}
    level = levels(plain)
    rows = [
        sorted(n for n in level if level[n] == depth) for depth in range(max(level.values()) + 1)
    ]
    across, top = max(map(len, rows)) * COLUMN, (len(rows) - 1) * ROW + HEIGHT + 40
    place = {
        name: (round((column + 0.5) * across / len(row)), top - 30 - HEIGHT // 2 - depth * ROW)
        for depth, row in enumerate(rows)
        for column, name in enumerate(row)
    }
    head = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {across} {top}" role="img"'
    text = 'font-family="sans-serif" font-size="15" text-anchor="middle"'
    lines = [f"<svg {head} {text}>", "<title>Which distribution imports which</title>"]
    for here, there in sorted(found):
        (x1, y1), (x2, y2) = place[here], place[there]
        dash = "" if (here, there) in plain else ' stroke-dasharray="5 4"'
        half = HEIGHT // 2
        if y1 == y2:  # side by side: an arc below what stands between
            path = f"M{x1} {y1 + half} Q{(x1 + x2) // 2} {y1 + ROW // 2} {x2} {y1 + half}"
        else:
            begin, end = (y1 + half, y2 - half) if y1 < y2 else (y1 - half, y2 + half)
            middle = (y1 + y2) // 2
            path = f"M{x1} {begin} C{x1} {middle} {x2} {middle} {x2} {end}"
        lines.append(f'<path d="{path}" fill="none" stroke="#4f8f88" stroke-width="1.5"{dash}/>')
    for name, (x, y) in sorted(place.items()):
        left, upper = x - WIDTH // 2, y - HEIGHT // 2
        box = f'x="{left}" y="{upper}" width="{WIDTH}" height="{HEIGHT}" rx="8"'
        lines += [
            f'<rect {box} fill="#e0f2f1" stroke="#00796b"/>',
            f'<text x="{x}" y="{y + 5}" fill="#004d40">{name}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, fail if outdated")
    options = parser.parse_args()
    picture = draw()
    if not options.check:
        TARGET.write_text(picture, encoding="utf-8")
    elif not TARGET.exists() or TARGET.read_text(encoding="utf-8") != picture:
        print(f"{TARGET.relative_to(ROOT)} is outdated; run scripts/diagram.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
