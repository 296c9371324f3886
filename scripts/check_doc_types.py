"""Type-checks the Python blocks of the READMEs and of the documentation: mypy and pyright, strict.

A page is one program. A block with a title is a file of its own, beside the others of its page.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pages

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
# A page has its `await` at the top level, as a notebook has.
TOP_LEVEL = re.compile(r"top-level-await|outside (of )?async function|only within async function")


def written(folder: Path) -> dict[str, tuple[Path, int]]:
    """Write the programs and return where each file comes from: its page, and a line."""
    sources: dict[str, tuple[Path, int]] = {}
    for page in sorted(
        [ROOT / "README.md", *ROOT.glob("packages/*/README.md"), *ROOT.glob("docs/**/*.md")]
    ):
        place = re.sub(r"\W", "_", str(page.relative_to(ROOT).with_suffix("")))
        program = pages.program(page)
        if program.strip():
            path = folder / f"{place}.py"
            path.write_text(program, encoding="utf-8")
            sources[path.name] = (page, 0)
        for name, line, body in pages.placed_files(page):
            if not name.endswith(".py"):
                continue
            path = folder / place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(body, encoding="utf-8")
            sources[str(path.relative_to(folder))] = (page, line - 1)
    return sources


def mypy(folder: Path, targets: list[str], cwd: Path) -> list[tuple[str, int, str]]:
    command = [str(BIN / "mypy"), "--output", "json", "--config-file", str(folder / "mypy.ini")]
    command += targets
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    lines = done.stdout.split("\n")
    if done.stderr or not all(line.startswith("{") for line in lines if line):
        sys.exit(done.stderr + done.stdout)
    found = [json.loads(line) for line in lines if line]
    return [
        (each["file"], each["line"], f"{each['message']} [{each['code']}] (mypy)")
        for each in found
        if each["severity"] == "error"
    ]


def pyright(folder: Path) -> list[tuple[str, int, str]]:
    done = subprocess.run(
        [BIN / "pyright", "--outputjson", "-p", folder], capture_output=True, text=True, check=False
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)["generalDiagnostics"]
    return [
        (
            str(Path(each["file"]).relative_to(folder)),
            each["range"]["start"]["line"] + 1,
            f"{each['message']} ({each.get('rule', 'pyright')})",
        )
        for each in found
        if each["severity"] == "error"
    ]


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="varco-doc-types-") as name:
        folder = Path(name).resolve()
        sources = written(folder)
        roots = sorted({path.split("/")[0] for path in sources if "/" in path})
        settings: dict[str, Any] = {
            "typeCheckingMode": "strict",
            "pythonVersion": "3.12",
            "venvPath": str(ROOT),
            "venv": ".venv",
            "executionEnvironments": [{"root": root} for root in [*roots, "."]],
        }
        (folder / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
        (folder / "mypy.ini").write_text(
            f"[mypy]\nstrict = true\nexplicit_package_bases = true\ncache_dir = {folder}/cache\n",
            encoding="utf-8",
        )
        found = pyright(folder)
        alone = [path for path in sources if "/" not in path]
        found += mypy(folder, alone, folder)
        for root in roots:
            files = [
                path.removeprefix(f"{root}/") for path in sources if path.startswith(f"{root}/")
            ]
            found += [
                (f"{root}/{file}", line, text)
                for file, line, text in mypy(folder, files, folder / root)
            ]
    told = 0
    for file, line, text in sorted(found):
        if TOP_LEVEL.search(text):
            continue
        page, offset = sources[file]
        print(f"{page.relative_to(ROOT)}:{line + offset}: {text}")
        told += 1
    print(f"{len(sources)} programs, {told} errors")
    return min(told, 1)


if __name__ == "__main__":
    sys.exit(main())
