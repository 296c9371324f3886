"""Refuses circles of files that import each other, in every distribution.

Imports inside functions count like any other; those for type checkers alone do not.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGES = Path(__file__).parents[1] / "packages"


def imports(node: ast.AST) -> Iterator[tuple[str, ...]]:
    """What the imports of a file may load; of each, the first name that is a file."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from imports(ast.Module([other], []))
        elif isinstance(child, ast.Import):
            yield from ((alias.name,) for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield from ((f"{child.module}.{alias.name}", child.module) for alias in child.names)
        else:
            yield from imports(child)


def graph(source: Path) -> dict[str, set[str]]:
    """Which modules of a package each of its modules imports."""
    files: dict[str, Path] = {}
    for path in source.rglob("*.py"):
        module = ".".join(path.relative_to(source.parent).with_suffix("").parts)
        files[module.removesuffix(".__init__")] = path
    edges: dict[str, set[str]] = {}
    for name, path in files.items():
        found = imports(ast.parse(path.read_text("utf-8")))
        loaded = (next(filter(files.__contains__, names), name) for names in found)
        edges[name] = set(loaded) - {name}
    return edges


def reach(edges: dict[str, set[str]], start: str) -> set[str]:
    """All modules that a module leads to."""
    found: set[str] = set()
    queue = [start]
    while queue:
        fresh = edges[queue.pop()] - found
        found |= fresh
        queue += fresh
    return found


def circles(edges: dict[str, set[str]]) -> set[frozenset[str]]:
    """The largest sets of modules in which each leads to every other."""
    reached = {name: reach(edges, name) for name in edges}
    return {
        frozenset(other for other in reached[name] if name in reached[other])
        for name in edges
        if name in reached[name]
    }


def main() -> int:
    found = {
        circle
        for source in sorted(PACKAGES.glob("*/src/*"))
        if source.is_dir()
        for circle in circles(graph(source))
    }
    for circle in sorted(map(sorted, found)):
        print(f"these import each other: {', '.join(circle)}", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
