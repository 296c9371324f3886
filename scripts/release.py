"""Release one distribution: check, bump, build, install from the wheels, commit and tag.

    release.py varco-query 0.2.0              leaves a commit and the tag varco-query-v0.2.0
    release.py varco-query 0.2.0 --dry-run    the same in a throwaway clone; nothing stays

Nothing is pushed or uploaded. It refuses, and says what would be right, when the public API is not
what api.txt says, when the changelog is silent about a change of it, when the version is too small
for what changed, when a sibling's range does not admit the new version, and when the index already
has this version, or a newer one, from someone else.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import Any

import api
import griffe
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
INDEX = "https://pypi.org/simple"
UV = shutil.which("uv") or str(ROOT / "scripts" / "uv")
# What would change the URLs of the lock, or the interpreter that pip is told to change.
FOREIGN = ("UV_PYTHON", "UV_INDEX", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL")


class ReleaseError(Exception):
    """The release is refused; the message says what to do."""


def project(name: str, root: Path) -> dict[str, Any]:
    text = (root / "packages" / name / "pyproject.toml").read_text(encoding="utf-8")
    found: dict[str, Any] = tomllib.loads(text)["project"]
    return found


def check_version(name: str, version: str, root: Path) -> None:
    """The version is newer than the last one, by a part that fits what changed.

    Below 1.0 a break of the public API takes the second part; from 1.0 on it takes the first, and
    an addition the second.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise ReleaseError(f"{version!r} is no version; write three numbers, such as 0.2.0")
    tag = api.latest_release(name, root)
    if tag is None:
        return
    last, new = api.version_of(tag.rpartition("-v")[2]), api.version_of(version)
    if new <= last:
        raise ReleaseError(f"{version} is not newer than the last release, {tag}")
    old_text, new_text = api.kept(name, root, tag), api.kept(name, root)
    gone = api.entries(old_text).keys() - api.entries(new_text).keys()
    breaks = [f"{module}.{public}: gone" for module, public in sorted(gone)]
    breaks += breaking_changes(name, tag, root)
    significant = new[0] > last[0] or (not last[0] and new[1] > last[1])
    if breaks and not significant:
        part = f"{last[0] + 1}.0.0" if last[0] else f"0.{last[1] + 1}.0"
        listed = "\n  ".join(breaks)
        raise ReleaseError(
            f"{version} breaks users of {tag} and must be {part} or later:\n  {listed}"
        )
    if last[0] and new[:2] == last[:2] and old_text != new_text:
        raise ReleaseError(
            f"{version} adds to the public API of {tag}; make it {last[0]}.{last[1] + 1}.0"
        )


def breaking_changes(name: str, tag: str, root: Path) -> list[str]:
    source, module = Path("packages") / name / "src", name.replace("-", "_")
    old = griffe.load_git(module, ref=tag, repo=root, search_paths=[source], resolve_aliases=True)
    new = griffe.load(module, search_paths=[root / source], resolve_aliases=True)
    assert isinstance(old, griffe.Object)
    assert isinstance(new, griffe.Object)
    found = griffe.find_breaking_changes(old, new)
    return sorted({f"{one.obj.path}: {one.kind.value}" for one in found})


def check_index(name: str, version: str, root: Path, index: str) -> None:
    """The index has no such version, and none of someone else's that installers would prefer.

    What is there and has no tag here is someone else's. `index` is the URL of a simple index that
    answers in JSON (PEP 691).
    """
    accepted = {"Accept": "application/vnd.pypi.simple.v1+json"}
    request = urllib.request.Request(f"{index.rstrip('/')}/{name}/", headers=accepted)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            there: list[str] = json.load(answer)["versions"]
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.NOT_FOUND:
            return  # the name is free
        raise ReleaseError(
            f"{index} does not tell which versions of {name} it has: {error}"
        ) from error
    except (OSError, ValueError, KeyError) as error:
        raise ReleaseError(
            f"{index} does not tell which versions of {name} it has: {error}"
        ) from error
    if version in there:
        raise ReleaseError(f"{index} already has {name} {version}; a version is uploaded once")
    ours = set(api.git(root, "tag", "--list", f"{name}-v*").split())
    foreign = [Version(one) for one in there if f"{name}-v{one}" not in ours]
    newest = max(foreign, default=None)
    if newest is not None and newest > Version(version):
        raise ReleaseError(
            f"{index} has {name} {newest} from someone else, which installers prefer to {version}; "
            f"make it {newest.major + 1}.0.0 or later"
        )


def check_api(name: str, root: Path) -> None:
    """The snapshot is that of the code, and the changelog names what changed."""
    if api.snapshot(name, root) != api.kept(name, root):
        raise ReleaseError(f"packages/{name}/api.txt is outdated; run scripts/api.py")
    if missing := api.undocumented(name, root):
        raise ReleaseError(f"packages/{name}/CHANGELOG.md does not name {', '.join(missing)}")


def close_changelog(name: str, version: str, root: Path) -> None:
    """Date the topmost section, which must be of this version or unreleased, and say something."""
    path = root / "packages" / name / "CHANGELOG.md"
    text = path.read_text(encoding="utf-8")
    match = re.search(r"^## ([^\n]*)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if match is None or match[1] not in {"Unreleased", f"{version} (unreleased)"}:
        raise ReleaseError(
            f"{path} must begin with a section '## Unreleased' that tells the changes"
        )
    if not match[2].strip():
        raise ReleaseError(f"the section '## {match[1]}' of {path} is empty")
    today = dt.datetime.now(dt.UTC).date()
    start, end = match.span(1)
    path.write_text(f"{text[:start]}{version} ({today}){text[end:]}", encoding="utf-8")


def check_ranges(root: Path) -> None:
    """Every sibling range of the workspace admits the version that the workspace has."""
    versions = {name: project(name, root)["version"] for name in api.packages(root)}
    refused = [
        f"{name} {versions[name]} requires {requirement}, not {versions[requirement.name]}"
        for name in versions
        for requirement in _requirements(project(name, root))
        if requirement.name in versions
        and not requirement.specifier.contains(versions[requirement.name])
    ]
    if refused:
        listed = "\n  ".join(refused)
        raise ReleaseError(f"widen these ranges, and release what holds them too:\n  {listed}")


def _requirements(project: dict[str, Any]) -> list[Requirement]:
    groups = [project["dependencies"], *project.get("optional-dependencies", {}).values()]
    return [Requirement(text) for group in groups for text in group]


def bump(name: str, version: str, root: Path) -> None:
    path = root / "packages" / name / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    old = project(name, root)["version"]
    path.write_text(text.replace(f'version = "{old}"', f'version = "{version}"', 1), "utf-8")
    lock = root / "uv.lock"
    entry = f'name = "{name}"\nversion = "{{}}"\n'
    locked = lock.read_text(encoding="utf-8")
    lock.write_text(locked.replace(entry.format(old), entry.format(version), 1), "utf-8")


def uv(root: Path, *words: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in FOREIGN}
    done = subprocess.run(
        [UV, *words], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ReleaseError(f"uv {words[0]} failed:\n{done.stderr.strip()}")


def build(name: str, root: Path, dist: Path) -> None:
    """Build sdist and wheel twice; both times must give the same bytes."""
    digests: list[dict[str, str]] = []
    for turn in ("first", "second"):
        folder = dist / turn
        uv(root, "build", "--package", name, "--no-sources", "--python", sys.executable,
           "--out-dir", str(folder))  # fmt: skip
        built = [*folder.glob("*.whl"), *folder.glob("*.tar.gz")]
        digests.append({p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in built})
    if digests[0] != digests[1] or len(digests[0]) != 2:
        raise ReleaseError(f"two builds of {name} are not the same: {digests}")


def install(name: str, version: str, root: Path, dist: Path) -> None:
    """Install it, and the meta-package with it, from wheels of the whole workspace alone."""
    wheels = dist / "all"
    uv(root, "build", "--all-packages", "--wheel", "--no-sources", "--python", sys.executable,
       "--out-dir", str(wheels))  # fmt: skip
    home = dist / "environment"
    python = str(home / "bin" / "python")
    uv(root, "venv", "--python", sys.executable, str(home))
    meta = f"varco-core=={project('varco-core', root)['version']}"
    uv(root, "pip", "install", "-p", python, "--find-links", str(wheels), f"{name}=={version}",
       meta)  # fmt: skip
    module = name.replace("-", "_")
    code = f"import {module}, varco_core; [getattr(varco_core, n) for n in varco_core.__all__]"
    subprocess.run([python, "-I", "-c", code], cwd=dist, check=True)


def release(name: str, version: str, root: Path, index: str = INDEX) -> str:
    """Do all of it in `root` and return the tag."""
    if name not in api.packages(root):
        known = ", ".join(api.packages(root))
        raise ReleaseError(f"there is no distribution {name!r}; there are {known}")
    if api.git(root, "status", "--porcelain"):
        raise ReleaseError("commit or stash your changes first")
    check_api(name, root)
    check_version(name, version, root)
    close_changelog(name, version, root)
    bump(name, version, root)
    check_ranges(root)
    check_index(name, version, root, index)
    with tempfile.TemporaryDirectory(prefix="varco-release-") as folder:
        build(name, root, Path(folder))
        install(name, version, root, Path(folder))
    tag = f"{name}-v{version}"
    api.git(root, "commit", "--quiet", "--all", "--message", f"Release {name} {version}")
    api.git(root, "tag", "--annotate", tag, "--message", f"{name} {version}")
    return tag


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("distribution")
    parser.add_argument("version")
    parser.add_argument("--dry-run", action="store_true", help="in a clone that is thrown away")
    options = parser.parse_args()
    before = api.git(ROOT, "rev-parse", "HEAD")
    try:
        if options.dry_run:
            with tempfile.TemporaryDirectory(prefix="varco-dry-run-") as folder:
                api.git(ROOT, "clone", "--quiet", str(ROOT), folder)
                tag = release(options.distribution, options.version, Path(folder))
            print(f"{tag} could be released")
        else:
            tag = release(options.distribution, options.version, ROOT)
            print(f"made the tag {tag}; push it with: git push origin main {tag}")
    except ReleaseError as error:
        if not options.dry_run:
            print(f"release: undo what was begun with: git reset --hard {before}", file=sys.stderr)
        print(f"release: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
