"""The page on migrations, typed as its reader does."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import pages  # noqa: E402 - the scripts are no package

PAGE = ROOT / "docs" / "how-to" / "migrations.md"


def test_the_migrations_of_the_how_to(tmp_path):
    initial, *others = pages.commands(PAGE)

    def run(command):
        program, *words = command.replace('"the first tables"', "first").split()
        module = [sys.executable] if program == "python" else [sys.executable, "-m", program]
        done = subprocess.run(
            [*module, *words],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    assert run(initial)[0] == 0
    for name, text in pages.files(PAGE):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    code, told = run("python serve.py")
    assert code != 0
    assert "the database has no products" in told
    for command in others:
        code, told = run(command)
        assert code == 0, told
    (migration,) = (tmp_path / "migrations" / "versions").glob("*.py")
    assert "varco" not in migration.read_text(encoding="utf-8").replace("varco_", "")
