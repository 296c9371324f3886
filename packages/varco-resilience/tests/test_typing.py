import os
import subprocess
import sys
from pathlib import Path

import pytest

import varco_resilience

FILE = Path(__file__).with_name("typing_decorators.py")
ROOT = Path(__file__).parents[3]


def check(*command, cwd=ROOT, **env):
    env |= os.environ | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=env,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_mypy_strict():
    pytest.importorskip("mypy")
    check("mypy", str(FILE))


def test_pyright_strict():
    pytest.importorskip("pyright")
    check("pyright", str(FILE))


def test_all_public_types_are_known(tmp_path):
    pytest.importorskip("pyright")
    source = str(Path(varco_resilience.__file__).parents[1])
    command = ("pyright", "--verifytypes", "varco_resilience", "--ignoreexternal")
    assert "Type completeness score: 100%" in check(*command, cwd=tmp_path, PYTHONPATH=source)
