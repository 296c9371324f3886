"""The promises that hold between the distributions rather than inside one."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
MEMBERS = {
    path.parent.name: tomllib.loads(path.read_text(encoding="utf-8"))
    for path in sorted(ROOT.glob("packages/*/pyproject.toml"))
}


def requirements(project: dict) -> list[Requirement]:
    groups = [project["dependencies"], *project.get("optional-dependencies", {}).values()]
    return [Requirement(text) for group in groups for text in group]


@pytest.mark.parametrize("name", MEMBERS)
def test_a_distribution_is_complete(name):
    folder = ROOT / "packages" / name
    project = MEMBERS[name]["project"]
    assert project["name"] == name
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"])
    assert f"## {project['version']}" in (folder / "CHANGELOG.md").read_text(encoding="utf-8")
    assert (folder / "src" / name.replace("-", "_") / "py.typed").is_file()
    assert list((folder / "tests").glob("test_*.py"))
    assert (folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize("name", MEMBERS)
def test_a_sibling_is_pinned_to_a_range_that_admits_it(name):
    # A workspace source ignores ranges, so only a test sees one that no release could satisfy.
    for requirement in requirements(MEMBERS[name]["project"]):
        if requirement.name not in MEMBERS:
            continue
        bounds = {spec.operator for spec in requirement.specifier}
        assert bounds == {">=", "<"}, f"{name} must pin {requirement.name} from below and above"
        version = MEMBERS[requirement.name]["project"]["version"]
        assert requirement.specifier.contains(version), f"{name}: {requirement} refuses {version}"


@pytest.mark.parametrize("name", MEMBERS)
def test_a_third_party_dependency_has_a_lower_bound_and_no_upper(name):
    for requirement in requirements(MEMBERS[name]["project"]):
        if requirement.name not in MEMBERS:
            assert {spec.operator for spec in requirement.specifier} == {">="}, requirement


def test_the_lock_names_only_the_public_index():
    hosts = set(re.findall(r'https?://([^/"\s]+)', (ROOT / "uv.lock").read_text(encoding="utf-8")))
    assert hosts == {"pypi.org", "files.pythonhosted.org"}


def test_the_root_requires_every_member():
    root = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    required = {Requirement(text).name for text in root["project"]["dependencies"]}
    assert required == set(MEMBERS) == set(root["tool"]["uv"]["sources"])


def test_the_readme_is_short_and_ci_runs_its_test_command():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) < 160
    assert all(f"packages/{name}" in readme for name in MEMBERS)
    command = "./scripts/uv run pytest"
    assert f"$ {command}\n" in readme
    assert f"\n{command}\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_importing_the_meta_package_loads_no_third_party_module():
    code = "import sys; old = set(sys.modules); import varco_core; print(*set(sys.modules) - old)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    tops = {name.partition(".")[0] for name in loaded.stdout.split()}
    assert tops - set(sys.stdlib_module_names) == {"varco_core"}


def test_the_meta_package_is_what_the_slices_say():
    command = [sys.executable, str(ROOT / "scripts" / "generate_core.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_files_import_each_other():
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "check_circles.py"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
