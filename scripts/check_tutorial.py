"""Types the tutorial into an empty folder, line by line as it stands there, and runs what it runs.

A clone of the last commit lies beside the folder, as the page asks for. pip is pip, and the public
index is there, with other software under some of our names: what is installed must be ours. It ends
where the page sets the addresses of servers, which are the reader's own.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pages

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "tutorial.md"
OURS = """
import importlib.metadata as found, json, sys
for name, version in json.loads(sys.argv[1]).items():
    try:
        installed = found.version(name)
    except found.PackageNotFoundError:
        continue
    assert installed == version, f"{name} {installed} was installed, ours is {version}"
"""


def lines() -> Iterator[str]:
    """The page as a shell script."""
    for block in pages.FENCE.finditer(PAGE.read_text(encoding="utf-8")):
        title = pages.title(block[2])
        if title:
            yield f"cat > {shlex.quote(title)} <<'END OF THE FILE'\n{block[3]}END OF THE FILE"
        elif block[1] == "console":
            for command in pages.typed(block[3]):
                if command.startswith("export "):
                    return
                yield command


def main() -> int:
    versions = {
        path.parent.name: tomllib.loads(path.read_text(encoding="utf-8"))["project"]["version"]
        for path in ROOT.glob("packages/*/pyproject.toml")
    }
    script = ["set -eux", *lines()]
    script.append(f"python -c {shlex.quote(OURS)} {shlex.quote(json.dumps(versions))}")
    with tempfile.TemporaryDirectory(prefix="varco-tutorial-") as folder:
        subprocess.run(["git", "clone", "--quiet", str(ROOT), f"{folder}/varco"], check=True)
        python3 = Path(folder) / "bin" / "python3"
        python3.parent.mkdir()
        python3.symlink_to(sys.executable)
        environment = os.environ | {"PATH": f"{python3.parent}:{os.environ['PATH']}"}
        environment |= {"PIP_QUIET": "1"}
        environment.pop("UV_PYTHON", None)
        command = ["bash", "-c", "\n".join(script)]
        subprocess.run(command, cwd=folder, env=environment, check=True)
    print("the tutorial was typed, and its tests pass")
    return 0


if __name__ == "__main__":
    sys.exit(main())
