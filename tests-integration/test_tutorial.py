"""Pages whose blocks are files, as their reader types them: an empty folder, and their test."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import pages  # noqa: E402 - the scripts are no package

TUTORIAL = ROOT / "docs" / "tutorial.md"
BACKEND = ROOT / "docs" / "how-to" / "backend.md"
POSTGRESQL = os.environ.get(
    "VARCO_TEST_POSTGRESQL_URL",
    "postgresql+asyncpg://varco_test:varco_test@127.0.0.1:5432/varco_test",
)
REDIS = os.environ.get("VARCO_TEST_REDIS_URL", "redis://127.0.0.1:6379/0")


def need_servers():
    for name, port in (("PostgreSQL", 5432), ("Redis", 6379)):
        try:
            socket.create_connection(("127.0.0.1", port), 2).close()
        except OSError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"no {name} on port {port}: {error}")


def type_files(page, folder):
    for name, text in pages.files(page):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


def run_tests(folder, **configuration):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q"],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")} | configuration,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_the_tutorial_passes_twice_on_sqlite(tmp_path):
    assert pages.commands(TUTORIAL).count("python -m pytest") == 2
    type_files(TUTORIAL, tmp_path)
    run_tests(tmp_path)
    run_tests(tmp_path)


def test_the_tutorial_passes_on_postgresql_and_redis_by_configuration_alone(tmp_path):
    need_servers()
    type_files(TUTORIAL, tmp_path)
    run_tests(tmp_path, SHOP_DATABASE=POSTGRESQL, SHOP_REDIS=REDIS)


def test_the_backend_of_the_how_to_passes_the_suite(tmp_path):
    type_files(BACKEND, tmp_path)
    run_tests(tmp_path)
