"""Builds every distribution and follows each one's README in a fresh environment, as a user would.

For each: its first command installs only it and what it requires; every public name is touched, the
siblings it does not require are absent, and a name behind an extra says what to install. Then the
README's other commands are typed and its Python blocks run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import kafka_stand_ins
import mongodb
import pages

ROOT = Path(__file__).parents[1]
UV = shutil.which("uv") or str(ROOT / "scripts" / "uv")
PROJECTS = {
    path.parent.name: tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    for path in sorted(ROOT.glob("packages/*/pyproject.toml"))
}

VERSIONS = {name.replace("-", "_"): project["version"] for name, project in PROJECTS.items()}

# Run inside the fresh environment; argv: the module, the versions of ours by module, as JSON, then
# the siblings that must be absent.
PROBE = """
import importlib, importlib.metadata, importlib.util, json, sys

name, versions, *absent = sys.argv[1:]
found = [other for other in absent if importlib.util.find_spec(other)]
assert not found, f"{name} brought {found}"
for other, version in json.loads(versions).items():
    if importlib.util.find_spec(other):
        installed = importlib.metadata.version(other)
        assert installed == version, f"{other} {installed} was installed, ours is {version}"
module = importlib.import_module(name)
assert module.__file__ and "site-packages" in module.__file__, module.__file__
behind_extra = []
for public in module.__all__:
    try:
        getattr(module, public)
    except ImportError as error:
        assert f"pip install '{name.replace('_', '-')}[" in str(error), error
        behind_extra.append(public)
print(f"{name}: {len(module.__all__)} names, {len(behind_extra)} behind an extra")
"""


def required(name: str) -> set[str]:
    """The siblings that `name` requires, directly or through another, without its extras."""
    found: set[str] = set()
    for text in PROJECTS[name]["dependencies"]:
        match = re.match(r"(varco-[a-z-]+)(?:\[([a-z,]+)\])?", text)
        if match:
            found |= {match[1]} | required(match[1])
            for extra in filter(None, (match[2] or "").split(",")):
                for more in PROJECTS[match[1]]["optional-dependencies"][extra]:
                    sibling = re.match(r"varco-[a-z-]+", more)
                    found |= {sibling[0]} | required(sibling[0]) if sibling else set()
    return found


def uv(*arguments: str) -> None:
    subprocess.run([UV, *arguments], cwd=ROOT, check=True)


class Environment:
    """A fresh environment beside a `dist` of what was built, the public index reachable too."""

    def __init__(self, folder: Path, python: str, dist: Path) -> None:
        self.folder = folder
        uv("venv", "--quiet", "--python", python, str(folder / "venv"))
        self.python = str(folder / "venv" / "bin" / "python")
        # pip's own commands, at the speed of uv.
        pip = folder / "venv" / "bin" / "pip"
        pip.write_text(f'#!/bin/sh\nexec "{UV}" pip "$@" -q -p "{self.python}"\n', encoding="utf-8")
        pip.chmod(0o755)
        (folder / "dist").symlink_to(dist)
        self.variables = os.environ | {"PATH": f"{pip.parent}:{os.environ['PATH']}"}

    def type(self, command: str) -> None:
        subprocess.run(command, shell=True, cwd=self.folder, env=self.variables, check=True)

    def run(self, code: str, *arguments: str) -> None:
        subprocess.run([self.python, "-I", "-c", code, *arguments], cwd=self.folder, check=True)


@contextlib.contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]


def follow(name: str, home: Environment) -> None:
    page = ROOT / "packages" / name / "README.md"
    first, *others = pages.commands(page)
    if first != f"pip install --find-links dist {name}":
        sys.exit(f"{page} must begin with: pip install --find-links dist {name}")
    home.type(first)
    absent = sorted(set(PROJECTS) - required(name) - {name})
    module, *others_absent = (text.replace("-", "_") for text in [name, *absent])
    home.run(PROBE, module, json.dumps(VERSIONS), *others_absent)
    for command in others:
        home.type(command)
    source = pages.program(page)
    (home.folder / "page.txt").write_text(source, encoding="utf-8")
    with contextlib.ExitStack() as stack:
        if "VARCO_MONGODB_URL" in source:
            url = mongodb.database_url(stack.enter_context(mongodb.server()), "varco_wheels")
            stack.enter_context(_variable("VARCO_MONGODB_URL", url))
        if "VARCO_KAFKA_URL" in source:
            server = kafka_stand_ins.Noida(home.folder / "kafka").start()
            stack.callback(server.stop)
            stack.enter_context(_variable("VARCO_KAFKA_URL", server.url))
        home.run(pages.RUNNER, str(page), "page.txt")
    print(f"{name}: its README was followed, {1 + len(others)} commands")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("distribution", nargs="*", default=list(PROJECTS), help="default: all")
    parser.add_argument("--python", default=sys.executable, help="the interpreter to install for")
    options = parser.parse_args()
    # An absolute UV_PYTHON would override the environment that pip is told to change.
    os.environ.pop("UV_PYTHON", None)
    with tempfile.TemporaryDirectory(prefix="varco-wheels-") as folder:
        dist = Path(folder) / "dist"
        # --no-sources: the ranges that a user's resolver will see, not the paths of the workspace.
        python = ("--python", options.python)
        uv("build", "--all-packages", "--no-sources", "--quiet", *python, "--out-dir", str(dist))
        for name in options.distribution:
            (Path(folder) / name).mkdir()
            follow(name, Environment(Path(folder) / name, options.python, dist))
    return 0


if __name__ == "__main__":
    sys.exit(main())
