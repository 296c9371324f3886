"""Runs every benchmark beside this file, each in a process of its own, and prints the tables."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    names = sorted(p.stem for p in HERE.glob("*.py") if p.stem not in {"_harness", "run"})
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slice", nargs="*", help=f"any of: {', '.join(names)} (default: all)")
    parser.add_argument("--filter", default="", help="only groups whose name contains this text")
    options = parser.parse_args()
    unknown = set(options.slice) - set(names)
    if unknown:
        parser.error(
            f"no benchmark named {', '.join(sorted(unknown))}; there are {', '.join(names)}"
        )
    worst = 0
    for name in options.slice or names:
        print(f"\n== {name}", flush=True)
        command = [sys.executable, str(HERE / f"{name}.py"), "--filter", options.filter]
        worst = max(worst, abs(subprocess.run(command, check=False).returncode))
    return worst


if __name__ == "__main__":
    sys.exit(main())
