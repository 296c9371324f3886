"""Every Python block of the READMEs and of the documentation runs, in order, a program a page.

A page is run in a process of its own and in an empty folder, with top-level `await` on asyncio.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import pages  # noqa: E402 - the scripts are no package

PAGES = [
    page
    for page in sorted(
        [ROOT / "README.md", *ROOT.glob("packages/*/README.md"), *ROOT.glob("docs/**/*.md")]
    )
    if pages.program(page).strip()
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_python_blocks_run(page, tmp_path, request):
    source = pages.program(page)
    if "redis://localhost:6379" in source:
        request.getfixturevalue("local_redis")
    variables = dict(os.environ)
    if "VARCO_MONGODB_URL" in source:
        variables["VARCO_MONGODB_URL"] = request.getfixturevalue("mongodb_database")
    if "kafka://localhost:9092" in source:
        variables["VARCO_KAFKA_URL"] = request.getfixturevalue("kafka")
    (tmp_path / "page.txt").write_text(source, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", pages.RUNNER, str(page), "page.txt"],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_file_that_the_documentation_names_is_there():
    named = {
        path
        for page in ROOT.glob("docs/**/*.md")
        for path in re.findall(
            r"`((?:packages|scripts|tests-integration)/[\w./-]+)`", page.read_text(encoding="utf-8")
        )
    }
    assert named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_no_line_of_code_has_to_be_scrolled():
    """`docs/site.css` makes room for 100 characters on a window of 1,300 pixels."""
    found = [
        f"{page.relative_to(ROOT)}: {line}"
        for page in sorted(ROOT.glob("docs/**/*.md"))
        for block in pages.FENCE.finditer(page.read_text(encoding="utf-8"))
        for line in block[3].splitlines()
        if len(line) > 100
    ]
    assert found == []
