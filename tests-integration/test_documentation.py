"""Every Python block of the READMEs and of the documentation runs, in order, a program a page.

A page is run in a process of its own and in an empty folder, with top-level `await` on asyncio.
"""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [
    page
    for page in sorted(
        [ROOT / "README.md", *ROOT.glob("packages/*/README.md"), *ROOT.glob("docs/**/*.md")]
    )
    if FENCE.search(page.read_text(encoding="utf-8"))
]
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
    """The blocks of the page at their own lines, so that a traceback points into the page."""
    text = page.read_text(encoding="utf-8")
    lines = [""] * text.count("\n")
    for block in FENCE.finditer(text):
        start = text.count("\n", 0, block.start(1))
        body = block.group(1).splitlines()
        lines[start : start + len(body)] = body
    # A future import must open the program, and a page may have one in a later block.
    future = "from __future__ import annotations"
    if future in lines:
        lines = [future, *("" if line == future else line for line in lines[1:])]
    return "\n".join(lines)


def skip_without_redis(source: str) -> None:
    """A page about Redis needs one; CI has it."""
    if "redis://localhost:6379" not in source or os.environ.get("CI"):
        return
    try:
        socket.create_connection(("localhost", 6379), 2).close()
    except OSError as error:
        pytest.skip(f"no Redis on localhost:6379: {error}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_python_blocks_run(page, tmp_path):
    source = program(page)
    skip_without_redis(source)
    (tmp_path / "page.txt").write_text(source, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", RUNNER, str(page), "page.txt"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
