"""Runs the core slices' tests on Python 3.14, in Pyodide on Node, where that is all there is.

    check_pyodide.py                          all
    check_pyodide.py packages/varco-query     some

All public names are imported; tests that need processes, threads or sockets are skipped there. The
slice on joserfc is left out, since `cryptography` has no wheel for Pyodide.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYODIDE = "pyodide@314.0.7"  # CPython 3.14.2
PLATFORM = "pyemscripten_2026_0_wasm32"
PACKAGES = ("pydantic", "anyio", "providify", "fastapi", "httpx", "tzdata")
TOOLS = ("hypothesis", "lark", "pytest", "pytest-timeout", "sybil")


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "package.json").write_text("{}")
        subprocess.run(["npm", "install", "--silent", "--no-audit", PYODIDE], cwd=home, check=True)
        wheels, site = home / "wheels", home / "site"
        options = ("--platform", PLATFORM, "--python-version", "3.14", "--implementation", "cp")
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:"]
        abis = ("--abi", "cp314", "--abi", "none")
        command = [*download, *options, *abis, "-d", str(wheels), *PACKAGES, *TOOLS]
        subprocess.run(command, check=True)
        for wheel in wheels.glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(site)
        here = ROOT / "scripts" / "pyodide"
        node = ["node", "--stack-size=60000", str(here / "run.mjs")]
        modules = home / "node_modules" / "pyodide"
        _, hard = resource.getrlimit(resource.RLIMIT_STACK)
        done = subprocess.run(
            [*node, str(modules), str(ROOT), str(site), str(here / "suite.py"), *sys.argv[1:]],
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_STACK, (hard, hard)),
            check=False,
        )
        return done.returncode


if __name__ == "__main__":
    sys.exit(main())
