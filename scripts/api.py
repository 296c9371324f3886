"""Write the public API of every distribution as text into `packages/*/api.txt`.

    api.py             write what the code offers now
    api.py --check     write nothing; fail, and say why, when a snapshot or a changelog lags behind

The text is read from the source, not from imported modules, so that it is the same on every Python.
Against the last release (the newest tag such as varco-query-v0.1.0), every public name that was
added, removed or changed must be named in the topmost section of the changelog.
"""

from __future__ import annotations

import argparse
import difflib
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import griffe

ROOT = Path(__file__).parents[1]
Version = tuple[int, ...]


def packages(root: Path = ROOT) -> list[str]:
    return sorted(path.parent.name for path in root.glob("packages/*/pyproject.toml"))


def snapshot(name: str, root: Path = ROOT) -> str:
    """Every public name of every public module, with its signature and its members."""
    # What another distribution defines is named, not followed.
    logging.getLogger("griffe").setLevel(logging.ERROR)
    loader = griffe.GriffeLoader(search_paths=[root / "packages" / name / "src"])
    top = loader.load(name.replace("-", "_"))
    loader.resolve_aliases(external=False)
    assert isinstance(top, griffe.Module)
    return "\n\n".join("\n".join(_module(module)) for module in public_modules(top)) + "\n"


def public_modules(module: griffe.Module) -> Iterator[griffe.Module]:
    if module.exports is not None:
        yield module
    for name, inner in sorted(module.modules.items()):
        if not name.startswith("_") and not inner.is_alias:
            yield from public_modules(inner)


def _module(module: griffe.Module) -> Iterator[str]:
    yield f"# {module.path}"
    for name in sorted(str(one) for one in module.exports or ()):
        member = module.members.get(name)
        if member is None:
            yield name  # made by a module's `__getattr__` and not seen by type checkers
        elif isinstance(member, griffe.Alias) and _elsewhere(member.target_path, module):
            yield f"{name} = {member.target_path}"
        else:
            yield from _entry(name, member)


def _elsewhere(path: str, module: griffe.Module) -> bool:
    """Whether a name is described where it is defined: another distribution or public module."""
    home = path.rpartition(".")[0]
    private = any(part.startswith("_") for part in home.split("."))
    return home.split(".")[0] != module.path.split(".")[0] or (home != module.path and not private)


def _entry(name: str, member: griffe.Object | griffe.Alias) -> Iterator[str]:
    if isinstance(member, griffe.Alias):
        member = member.final_target
    if isinstance(member, griffe.Class):
        yield f"class {name}({', '.join(map(str, member.bases))})"
        for inner, value in sorted(member.all_members.items()):
            if _shown(inner, value):
                yield from (f"    {line}" for line in _entry(inner, value))
    elif isinstance(member, griffe.Function):
        prefix = "".join(f"{label} " for label in sorted(member.labels & _LABELS))
        returns = f" -> {member.returns}" if member.returns is not None else ""
        for one in member.overloads or [member]:
            signature = one.signature(return_type=False)
            yield f"{prefix}def {name}{signature[signature.index('(') :]}{returns}"
    elif isinstance(member, griffe.Attribute):
        kind = "property " if "property" in member.labels else ""
        annotation = f": {member.annotation}" if member.annotation is not None else ""
        yield f"{kind}{name}{annotation}"
    else:
        yield f"{name} = {member.path}"


_LABELS = {"async", "classmethod", "staticmethod", "abstractmethod"}


def _shown(name: str, member: griffe.Object | griffe.Alias) -> bool:
    """What a user may call: public, and not shown already with a public base."""
    special = name.startswith("__") and name.endswith("__") and member.is_function
    if name.startswith("_") and not special:
        return False
    if member.is_alias and not member.inherited:
        return False  # a module's import inside the class body
    if not member.inherited:
        return True
    owner = member.final_target.parent if isinstance(member, griffe.Alias) else None
    return owner is not None and owner.name.startswith("_")


def latest_release(name: str, root: Path = ROOT) -> str | None:
    """The newest tag of a distribution, or None when it was never released."""
    tags = git(root, "tag", "--list", f"{name}-v*").split()
    return max(tags, key=lambda tag: version_of(tag.rpartition("-v")[2]), default=None)


def version_of(text: str) -> Version:
    return tuple(int(part) for part in text.split("."))


def git(root: Path, *words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=root, check=True, capture_output=True, text=True
    ).stdout.strip()


def changed_names(old: str, new: str) -> set[str]:
    """The public names whose entry is not the same in two snapshots."""
    before, after = entries(old), entries(new)
    differ = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    return {name for _, name in differ}


def entries(text: str) -> dict[tuple[str, str], str]:
    """The text of each entry, by module and name."""
    found: dict[tuple[str, str], str] = {}
    module, key = "", ("", "")
    for line in text.splitlines():
        if line.startswith("# "):
            module = line[2:]
        elif line.startswith(" "):
            found[key] += f"\n{line}"
        elif line:
            words = re.sub(r"^(?:class |def |async |property )+", "", line)
            key = (module, re.split(r"[^\w]", words, maxsplit=1)[0])
            found[key] = f"{found.get(key, '')}\n{line}"
    return found


def undocumented(name: str, root: Path = ROOT) -> list[str]:
    """Names that changed since the last release and that the changelog does not mention."""
    tag = latest_release(name, root)
    if tag is None:
        return []
    changelog = root / "packages" / name / "CHANGELOG.md"
    section = changelog.read_text(encoding="utf-8").split("\n## ")[1]
    changed = changed_names(kept(name, root, tag), kept(name, root))
    return sorted(one for one in changed if not re.search(rf"\b{one}\b", section))


def kept(name: str, root: Path = ROOT, tag: str | None = None) -> str:
    """The snapshot in the tree, or that of a release."""
    path = f"packages/{name}/api.txt"
    if tag is not None:
        return git(root, "show", f"{tag}:{path}") + "\n"
    return (root / path).read_text(encoding="utf-8") if (root / path).exists() else ""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, fail if outdated")
    options = parser.parse_args()
    problems = 0
    for name in packages():
        path = ROOT / "packages" / name / "api.txt"
        now = snapshot(name)
        old = kept(name)
        if not options.check:
            path.write_text(now, encoding="utf-8")
        elif now != old:
            diff = difflib.unified_diff(old.splitlines(), now.splitlines(), "kept", "now", "", "")
            print("\n".join(diff))
            print(f"{name}: the public API is not what api.txt says; if that is meant,", end=" ")
            print("run scripts/api.py and say so in the changelog")
            problems += 1
        if missing := undocumented(name):
            print(f"{name}: the changelog's first section does not name {', '.join(missing)}")
            problems += 1
    return min(problems, 1)


if __name__ == "__main__":
    sys.exit(main())
