import os
import subprocess
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).with_name("typing_decorators.py")
ROOT = Path(__file__).parents[3]


def check(command):
    done = subprocess.run(
        [sys.executable, "-m", *command, str(FILE)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy_strict():
    pytest.importorskip("mypy")
    check(["mypy"])


def test_pyright_strict():
    pytest.importorskip("pyright")
    check(["pyright"])
