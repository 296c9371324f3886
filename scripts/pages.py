"""The commands and programs that stand in a Markdown page."""

from __future__ import annotations

import re
from pathlib import Path

FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# Runs a page's program, given its name and the file with its text, with top-level `await`.
RUNNER = """
import ast, asyncio, inspect, pathlib, sys, types

page, source = sys.argv[1], pathlib.Path(sys.argv[2]).read_text(encoding="utf-8")
# A module of its own that can be found by name: dataclasses and pydantic look annotations up there.
module = types.ModuleType("page")
sys.modules["page"] = module

async def run():
    code = compile(source, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, module.__dict__)
    if inspect.isawaitable(result):
        await result

asyncio.run(run())
"""


def program(page: Path) -> str:
    """The page's Python blocks at their own lines, so that a traceback points into the page.

    A block with a title is a file of its own and no part of the program.
    """
    text = page.read_text(encoding="utf-8")
    lines = [""] * text.count("\n")
    for block in FENCE.finditer(text):
        if block[1] == "python" and not block[2].strip():
            start = text.count("\n", 0, block.start(3))
            body = block[3].splitlines()
            lines[start : start + len(body)] = body
    # A future import must open the program, and a page may have one in a later block.
    future = "from __future__ import annotations"
    if future in lines:
        lines = [future, *("" if line == future else line for line in lines[1:])]
    return "\n".join(lines)


def title(rest: str) -> str | None:
    """The title of a block, `title="shop/models.py"`, from what follows its language."""
    found = re.search(r'title="([^"]+)"', rest)
    return found[1] if found else None


def placed_files(page: Path) -> list[tuple[str, int, str]]:
    """The blocks that have a title in order: the path, the line of the page, and the text."""
    text = page.read_text(encoding="utf-8")
    titled = ((title(block[2]), block) for block in FENCE.finditer(text))
    return [
        (path, text.count("\n", 0, block.start(3)) + 1, block[3]) for path, block in titled if path
    ]


def files(page: Path) -> list[tuple[str, str]]:
    """The blocks that have a title in order: the path and the text."""
    return [(path, body) for path, _, body in placed_files(page)]


def typed(body: str) -> list[str]:
    """What a console block types after a `$ `, without what a `#` says of it."""
    commands = [line[2:] for line in body.splitlines() if line.startswith("$ ")]
    return [re.sub(r"\s{2,}#.*$", "", line) for line in commands]


def commands(page: Path) -> list[str]:
    """What the console blocks of a page type, in order."""
    blocks = FENCE.finditer(page.read_text(encoding="utf-8"))
    return [line for block in blocks if block[1] == "console" for line in typed(block[3])]
