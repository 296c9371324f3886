"""Builds every wheel and installs each one alone, in a fresh environment, as a user would.

For each distribution: only it and what it requires is installed, every public name is touched,
the siblings it does not require are absent, and a name behind an extra says what to install.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
UV = shutil.which("uv") or str(ROOT / "scripts" / "uv")
PROJECTS = {
    path.parent.name: tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    for path in sorted(ROOT.glob("packages/*/pyproject.toml"))
}

# Run inside the fresh environment; argv: the module, then the siblings that must be absent.
PROBE = """
import importlib, importlib.util, sys

name, *absent = sys.argv[1:]
found = [other for other in absent if importlib.util.find_spec(other)]
assert not found, f"{name} brought {found}"
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="the interpreter to install for")
    options = parser.parse_args()
    # An absolute UV_PYTHON would override the environment that pip is told to change.
    os.environ.pop("UV_PYTHON", None)
    with tempfile.TemporaryDirectory(prefix="varco-wheels-") as folder:
        dist = Path(folder) / "dist"
        # --no-sources: the ranges that a user's resolver will see, not the paths of the workspace.
        python = ("--python", options.python)
        uv("build", "--all-packages", "--no-sources", "--quiet", *python, "--out-dir", str(dist))
        for name, project in PROJECTS.items():
            home = str(Path(folder) / name)
            exact = f"{name}=={project['version']}"
            interpreter = str(Path(home) / "bin" / "python")
            uv("venv", "--quiet", *python, home)
            uv("pip", "install", "--quiet", "-p", interpreter, "--find-links", str(dist), exact)
            absent = sorted(set(PROJECTS) - required(name) - {name})
            modules = [text.replace("-", "_") for text in [name, *absent]]
            subprocess.run([interpreter, "-I", "-c", PROBE, *modules], cwd=folder, check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
