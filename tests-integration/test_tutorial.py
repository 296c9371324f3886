"""Pages whose blocks are files, as their reader types them: an empty folder, and their test."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import pages  # noqa: E402 - the scripts are no package

TUTORIAL = ROOT / "docs" / "tutorial.md"
BACKEND = ROOT / "docs" / "how-to" / "backend.md"


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
    assert pages.commands(TUTORIAL).count("python -m pytest") == 6
    type_files(TUTORIAL, tmp_path)
    run_tests(tmp_path)
    run_tests(tmp_path)


def test_the_tutorial_passes_on_postgresql_and_redis_by_configuration_alone(
    tmp_path, postgresql, redis
):
    type_files(TUTORIAL, tmp_path)
    run_tests(tmp_path, SHOP_DATABASE=postgresql, SHOP_REDIS=redis)


def test_the_tutorial_passes_on_mongodb_by_configuration_alone(tmp_path, mongodb_database):
    type_files(TUTORIAL, tmp_path)
    run_tests(tmp_path, SHOP_DATABASE=mongodb_database)


def test_the_tutorial_passes_on_kafka_by_configuration_alone(tmp_path, postgresql, kafka):
    type_files(TUTORIAL, tmp_path)
    run_tests(tmp_path, SHOP_DATABASE=postgresql, SHOP_KAFKA=kafka)


def test_the_backend_of_the_how_to_passes_the_suite(tmp_path):
    type_files(BACKEND, tmp_path)
    run_tests(tmp_path)
