"""Write the pages of the reference, of names grouped by what one does with them.

    reference.py             write docs/reference/varco-*.md
    reference.py --check     write nothing; fail if a public name stands in no group or in two, if a
                             group names what is not there, if the first line of a docstring says
                             nothing or too much, or if a page is not what this writes

`reference.toml` holds the grouping. A name is public where a public module exports it; under
several paths it is still one name.
"""

from __future__ import annotations

import argparse
import logging
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import api
import griffe

ROOT = Path(__file__).parents[1]
GROUPING = Path(__file__).with_suffix(".toml")
LONGEST = 100
HEAD = """\
# {name}

{intro}

## Five names

What most people need, in the order in which one meets it.
"""
INTRO = (
    "{does} Each part is shown at work in `packages/{name}/README.md`;"
    " `scripts/reference.py` writes this page."
)


@dataclass(frozen=True)
class Group:
    """What one does with some names of one module."""

    heading: str
    names: list[str]
    module: str = ""


@dataclass(frozen=True)
class Package:
    """A distribution, how its names are grouped, and its source."""

    name: str
    does: str
    five: list[str]
    groups: list[Group]
    old: list[str]
    top: griffe.Module

    def module(self, group: Group) -> griffe.Module:
        found = self.top[group.module] if group.module else self.top
        assert isinstance(found, griffe.Module)
        return found

    def group_of(self, name: str) -> Group:
        return next(group for group in self.groups if name in group.names)


def packages() -> Iterator[Package]:
    for name, entry in tomllib.loads(GROUPING.read_text(encoding="utf-8")).items():
        yield Package(
            name=name,
            does=entry["does"],
            five=entry["five"],
            groups=[Group(**group) for group in entry["groups"]],
            old=entry.get("old", []),
            top=source(name),
        )


def source(name: str) -> griffe.Module:
    # What another distribution defines is named, not followed.
    logging.getLogger("griffe").setLevel(logging.ERROR)
    loader = griffe.GriffeLoader(search_paths=[ROOT / "packages" / name / "src"])
    top = loader.load(name.replace("-", "_"))
    loader.resolve_aliases(external=False)
    assert isinstance(top, griffe.Module)
    return top


def home(module: griffe.Module, name: str) -> griffe.Object:
    """What a name stands for, where it is defined: the same under each path that exports it."""
    member = module.members[name]
    return member.final_target if isinstance(member, griffe.Alias) else member


def problems(package: Package) -> Iterator[str]:
    """What is wrong with the grouping of a package, and with the first lines of its names."""
    placed: dict[str, str] = {}
    for group in package.groups:
        module = package.module(group)
        for name in group.names:
            if name not in {str(one) for one in module.exports or ()}:
                yield f"{group.heading}: {module.path} has no public name {name}"
                continue
            found = home(module, name)
            if found.path in placed:
                yield f"{name} stands in two groups: {placed[found.path]}; {group.heading}"
            placed[found.path] = group.heading
            if wrong := unclear(first_line(found)):
                yield f"{found.path}: {wrong}"
    old = {home(package.top, name).path for name in package.old}
    missing: dict[str, str] = {}
    for module in api.public_modules(package.top):
        for name in map(str, module.exports or ()):
            path = home(module, name).path
            if path not in placed and path not in old:
                missing.setdefault(path, f"{module.path}.{name} stands in no group")
    yield from missing.values()
    grouped = {name for group in package.groups for name in group.names}
    yield from (f"{name} is old, and stands in a group" for name in package.old if name in grouped)
    yield from (
        f"{name}, one of the five, stands in no group"
        for name in package.five
        if name not in grouped
    )
    if len(set(package.five)) != 5:
        yield f"the five are {len(set(package.five))}"


def first_line(member: griffe.Object) -> str:
    """The first paragraph of a docstring in one line, as Markdown."""
    text = member.docstring.value if member.docstring else ""
    return " ".join(text.strip().partition("\n\n")[0].split())


def unclear(line: str) -> str | None:
    """Why a line cannot stand alone in a table."""
    if not line:
        return "no docstring"
    if len(line) > LONGEST:
        return f"the first line of its docstring has {len(line)} characters, over {LONGEST}"
    if line.startswith("Return ") or "``" in line:
        return "its docstring is written otherwise than others: `The ...`, not `Return the ...`"
    return None


def page(package: Package) -> str:
    intro = INTRO.format(name=package.name, does=package.does)
    head = HEAD.format(name=package.name, intro=textwrap.fill(intro, 100, break_on_hyphens=False))
    five = [(package.module(package.group_of(name)), name) for name in package.five]
    parts = [head, table(five)]
    for group in package.groups:
        module = package.module(group)
        inner = f"\nImport these from `{module.path}`.\n" if group.module else ""
        parts += [
            f"## {group.heading}\n{inner}",
            table([(module, name) for name in group.names]),
            directive(module, group.names),
        ]
    return "\n".join(parts)


def table(names: list[tuple[griffe.Module, str]]) -> str:
    rows = [
        f"| [`{name}`](#{module.path}.{name}) | {cell(first_line(home(module, name)))} |"
        for module, name in names
    ]
    return "\n".join(["| name | what it is |", "|---|---|", *rows, ""])


def cell(line: str) -> str:
    return line.replace("|", r"\|")


def directive(module: griffe.Module, names: list[str]) -> str:
    members = textwrap.fill(
        f"members: [{', '.join(names)}]",
        width=LONGEST,
        initial_indent=" " * 6,
        subsequent_indent=" " * 8,
    )
    return f"::: {module.path}\n    options:\n{members}\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, fail if outdated")
    options = parser.parse_args()
    found: list[str] = []
    for package in packages():
        wrong = [f"{package.name}: {problem}" for problem in problems(package)]
        found += wrong
        path = ROOT / "docs" / "reference" / f"{package.name}.md"
        if wrong:
            continue
        text = page(package)
        if not options.check:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            found.append(f"outdated: {path.relative_to(ROOT)}; run scripts/reference.py")
    print("\n".join(found), file=sys.stderr, end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
