"""Every Python block of the READMEs and of the documentation runs, in order, a program a page.

A page is run in a process of its own and in an empty folder, with top-level `await` on asyncio.
"""

import json
import os
import re
import signal
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


# Has imported what the pages import, and runs each page that it is told of in a fork of itself.
WARM = """
import gc, importlib, json, os, sys, traceback, warnings

runner, modules = json.loads(sys.stdin.readline())
for module in map(importlib.import_module, modules):
    for name in getattr(module, "__all__", ()):
        getattr(module, name)  # some are imported when they are asked for
gc.freeze()
for line in sys.stdin:
    page, folder, variables = json.loads(line)
    fork = os.fork()
    if fork == 0:
        code = 1
        try:
            os.chdir(folder)
            with open("output", "wb") as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
            os.environ.update(variables)
            sys.argv = ["-c", page, "page.txt"]
            warnings.simplefilter("error", RuntimeWarning)
            exec(compile(runner, "runner", "exec"), {"__name__": "__main__"})
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]), flush=True)
"""
IMPORTED = (
    "varco_auth_jwt",
    "varco_cache",
    "varco_domain",
    "varco_events",
    "varco_fastapi",
    "varco_http",
    "varco_litestar",
    "varco_query",
    "varco_resilience",
    "varco_sa",
    "aiosqlite",
    "fastapi.testclient",
    "litestar.testing",
)


@pytest.fixture(scope="module")
def run_page():
    """Runs a page in a folder with environment variables: its exit code and what it printed."""
    with subprocess.Popen(
        [sys.executable, "-c", WARM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:

        def tell(*words):
            process.stdin.write(json.dumps(words) + "\n")
            process.stdin.flush()

        def run(page, folder, variables):
            tell(str(page), str(folder), variables)
            return int(process.stdout.readline()), (folder / "output").read_text(encoding="utf-8")

        tell(pages.RUNNER, IMPORTED)
        yield run
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_python_blocks_run(page, tmp_path, request, run_page):
    source = pages.program(page)
    if "redis://localhost:6379" in source:
        request.getfixturevalue("local_redis")
    variables = {}
    if "VARCO_MONGODB_URL" in source:
        variables["VARCO_MONGODB_URL"] = request.getfixturevalue("mongodb_database")
    if "kafka://localhost:9092" in source:
        variables["VARCO_KAFKA_URL"] = request.getfixturevalue("kafka")
    (tmp_path / "page.txt").write_text(source, encoding="utf-8")
    code, output = run_page(page, tmp_path, variables)
    assert code == 0, output


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
