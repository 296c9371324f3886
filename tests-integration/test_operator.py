"""The operator that the documentation adds works in memory and SQL, with nothing else changed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "how-to" / "backend.md"
FILES = 4

PROGRAM = """
import asyncio
from varco_domain import DomainModel
from varco_query import *
from varco_sa import bootstrap

class Post(DomainModel):
    title: str

POSTS = [Post(title=title) for title in ("News", "new", "Draft", "ΣΊΣΥΦΟΣ")]
TEXT = "title ICONTAINS 'EW' AND NOT title ICONTAINS 's'"
node = QueryParser(QuerySchema.of(Post)).parse(TEXT).node
assert render(node) == TEXT
assert [post.title for post in filter(compile_predicate(node), POSTS)] == ["new"]

async def main():
    async with bootstrap("sqlite+aiosqlite://", Post) as backend:
        async with backend.uow_provider.make_uow() as uow:
            repo = uow.repository(Post)
            await repo.save_many(POSTS)
            assert [post.title for post in await repo.find_by_query(QueryParams(node))] == ["new"]
            greek = QueryParams(ComparisonNode("title", Operation("ICONTAINS"), "σίσ"))
            assert await repo.count(greek) == 1

asyncio.run(main())
"""


def test_the_operator_of_the_documentation(tmp_path):
    shown = re.compile(r'```diff title="icontains.diff"\n(.*?)```', re.DOTALL)
    (change,) = shown.findall(PAGE.read_text("utf-8"))
    assert len(re.findall(r"^\+\+\+ ", change, re.MULTILINE)) <= FILES
    package = Path("packages/varco-query/src/varco_query")
    shutil.copytree(ROOT / package, tmp_path / package)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "generate_parser.py", tmp_path / "scripts")

    def run(*command, **options):
        subprocess.run(command, cwd=tmp_path, check=True, timeout=100, **options)

    run("git", "init", "-q")
    run("git", "apply", "--unidiff-zero", "-", input=change.encode())
    run(sys.executable, "scripts/generate_parser.py")
    path = str(tmp_path / package.parent)
    run(sys.executable, "-c", PROGRAM, env={**os.environ, "PYTHONPATH": path})
