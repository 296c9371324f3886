"""A release as its maintainer does it, in a clone that is thrown away."""

import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import api  # noqa: E402 - the scripts are no package
import release  # noqa: E402


@pytest.fixture
def clone(tmp_path):
    """The last commit, with nothing released yet."""
    root = tmp_path / "varco"
    subprocess.run(["git", "clone", "--quiet", "--no-tags", ROOT, root], check=True)
    for key, value in (("user.name", "A Maintainer"), ("user.email", "maintainer@example.org")):
        api.git(root, "config", key, value)
    return root


@pytest.fixture
def index():
    """The URL of a package index of the test's own, and what it has: names to versions."""
    there = {}

    class Index(BaseHTTPRequestHandler):
        def do_GET(self):
            found = there.get(self.path.strip("/"))
            self.send_response(200 if found is not None else 404)
            self.end_headers()
            self.wfile.write(json.dumps({"versions": found}).encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", there
        server.shutdown()


def edit(path, pattern, replacement):
    text = path.read_text(encoding="utf-8")
    new, times = re.subn(pattern, replacement, text, count=1, flags=re.DOTALL)
    assert times == 1, f"{pattern} is not in {path}"
    path.write_text(new, encoding="utf-8")


def commit(root):
    api.git(root, "commit", "--quiet", "--all", "--message", "Change something")


def note(root, name, text):
    path = root / "packages" / name / "CHANGELOG.md"
    edit(path, r"\n## ", f"\n## Unreleased\n\n{text}\n\n## ")


def tag_first(root, *names):
    for name in names:
        path = root / "packages" / name / "CHANGELOG.md"
        edit(path, r" \(unreleased\)", " (2026-01-01)")
        api.git(root, "tag", f"{name}-v0.1.0")
    commit(root)


def refused(name, version, root, index="http://127.0.0.1:9/no-index"):
    with pytest.raises(release.ReleaseError) as caught:
        release.release(name, version, root, index)
    api.git(root, "reset", "--quiet", "--hard")
    return str(caught.value)


def test_a_slice_is_released_alone_and_the_meta_package_resolves_two_versions(clone, index):
    tag_first(clone, "varco-query", "varco-cache")
    note(clone, "varco-query", "Quicker.")
    commit(clone)
    # This builds everything, and installs the slice with the meta-package from the wheels.
    assert release.release("varco-query", "0.1.1", clone, index[0]) == "varco-query-v0.1.1"
    assert api.latest_release("varco-query", clone) == "varco-query-v0.1.1"
    assert release.project("varco-query", clone)["version"] == "0.1.1"
    assert release.project("varco-cache", clone)["version"] == "0.1.0"
    changelog = (clone / "packages" / "varco-query" / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## 0\.1\.1 \(\d{4}-\d\d-\d\d\)$", changelog, re.MULTILINE)
    locked = (clone / "uv.lock").read_text(encoding="utf-8")
    assert 'name = "varco-query"\nversion = "0.1.1"\n' in locked
    assert not api.git(clone, "status", "--porcelain")


def test_a_version_that_siblings_refuse_is_refused_and_they_are_named(clone):
    tag_first(clone, "varco-query")
    note(clone, "varco-query", "Other.")
    commit(clone)
    said = refused("varco-query", "0.2.0", clone)
    assert "varco-domain 0.1.0 requires varco-query<0.2,>=0.1, not 0.2.0" in said
    assert "varco-core 4.0.0 requires" in said
    assert "widen these ranges" in said


def test_a_change_of_the_public_api_must_be_recorded_named_and_numbered(clone):
    tag_first(clone, "varco-resilience")
    folder = clone / "packages" / "varco-resilience"
    edit(folder / "src" / "varco_resilience" / "__init__.py", r'    "RetryPolicy",\n', "")
    commit(clone)
    assert "run scripts/api.py" in refused("varco-resilience", "0.1.1", clone)

    text = api.snapshot("varco-resilience", clone)
    (folder / "api.txt").write_text(text, encoding="utf-8")
    commit(clone)
    assert "does not name RetryPolicy" in refused("varco-resilience", "0.1.1", clone)

    note(clone, "varco-resilience", "`RetryPolicy` is gone.")
    commit(clone)
    said = refused("varco-resilience", "0.1.1", clone)
    assert "must be 0.2.0 or later" in said
    assert "varco_resilience.RetryPolicy: gone" in said


@pytest.mark.parametrize(
    ("name", "version", "said"),
    [
        ("varco-query", "0.1.0", "is not newer than the last release, varco-query-v0.1.0"),
        ("varco-query", "0.1.1", "must begin with a section '## Unreleased'"),
        ("varco-query", "one", "write three numbers"),
        (
            "varco-quary",
            "0.1.1",
            "there is no distribution 'varco-quary'; there are varco-auth-jwt",
        ),
    ],
)
def test_a_release_that_cannot_be_is_refused_with_what_would_be_right(clone, name, version, said):
    tag_first(clone, "varco-query")
    assert said in refused(name, version, clone)


def test_what_is_not_committed_is_not_released(clone):
    note(clone, "varco-query", "Quicker.")
    assert "commit or stash" in refused("varco-query", "0.1.1", clone)


def test_a_version_that_the_index_has_or_that_installers_would_pass_over_is_refused(clone, index):
    tag_first(clone, "varco-query")
    note(clone, "varco-query", "Quicker.")
    commit(clone)
    url, there = index
    assert "does not tell which versions" in refused("varco-query", "0.1.1", clone)

    there["varco-query"] = ["0.1.0", "0.1.1"]
    assert "already has varco-query 0.1.1" in refused("varco-query", "0.1.1", clone, url)
    there["varco-query"] = ["0.1.0", "3.2.0"]
    said = refused("varco-query", "0.1.1", clone, url)
    assert "has varco-query 3.2.0 from someone else" in said
    assert "make it 4.0.0 or later" in said
    release.check_index("varco-query", "4.0.0", clone, url)
    there["varco-query"] = ["0.1.0"]  # ours: it has a tag
    release.check_index("varco-query", "0.1.1", clone, url)
