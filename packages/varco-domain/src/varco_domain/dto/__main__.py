"""Writes the DTOs of models into a module: `python -m varco_domain.dto shop.models`."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from difflib import unified_diff
from importlib import import_module
from pathlib import Path

from varco_domain._errors import DomainError
from varco_domain.dto._declared import unchecked
from varco_domain.dto._source import module_source
from varco_domain.meta import MetaReader
from varco_domain.model import DomainModel

_COMMAND = "python -m varco_domain.dto"
_WIDTH = 88


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 1 when a file is not as it would be written."""
    parser = _parser()
    options = parser.parse_args(arguments)
    command = _again(options)
    try:
        text = module_source(
            _models(options.module),
            module=options.module,
            command=command,
            exclude=[_pair(each) for each in options.exclude],
            include=[_pair(each) for each in options.include],
            width=options.line_length,
        )
    except (DomainError, ImportError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    if options.write is None:
        sys.stdout.write(text)
        return 0
    return _compare(options.write, text, command) if options.check else _write(options.write, text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=_COMMAND, description="Write the DTOs of models.")
    parser.add_argument("module", help="the module of the models, such as shop.models")
    parser.add_argument("--write", type=Path, metavar="FILE", help="where to; by default to stdout")
    parser.add_argument(
        "--check", action="store_true", help="only compare; 1 if FILE is not as it would be"
    )
    for name, says in (
        ("exclude", "a field that no class has; Post.body for one model's"),
        ("include", "a field to have, and no other; or op, expected_version, the tenant's field"),
    ):
        parser.add_argument(f"--{name}", action="append", default=[], metavar="FIELD", help=says)
    parser.add_argument("--line-length", type=int, default=_WIDTH, metavar="N")
    return parser


def _again(options: argparse.Namespace) -> str:
    words = [options.module]
    if options.write is not None:
        words += ["--write", options.write.as_posix()]
    for name in ("exclude", "include"):
        for value in getattr(options, name):
            words += [f"--{name}", value]
    if options.line_length != _WIDTH:
        words += ["--line-length", str(options.line_length)]
    return f"{_COMMAND} {shlex.join(words)}"


def _pair(name: str) -> tuple[str, str]:
    model, _, field = name.rpartition(".")
    return model, field


def _models(name: str) -> list[type]:
    # The module may import, by way of its package, the very classes that are about to be written.
    with unchecked():
        module = import_module(name)
    models = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, DomainModel)
        and value.__module__ == module.__name__
        and not MetaReader.read(value).abstract
    ]
    if not models:
        raise ImportError(f"{name} defines no model")
    return models


def _write(path: Path, text: str) -> int:
    if path.exists() and _COMMAND not in path.read_text(encoding="utf-8"):
        sys.stderr.write(f"{path} was not written by {_COMMAND}; move it away first\n")
        return 2
    path.write_text(text, encoding="utf-8")
    return 0


def _compare(path: Path, text: str, command: str) -> int:
    found = path.read_text(encoding="utf-8") if path.exists() else ""
    if found == text:
        return 0
    lines = unified_diff(
        found.splitlines(), text.splitlines(), str(path), "the models", lineterm=""
    )
    sys.stderr.write("\n".join([*lines, f"{path} is not what the models say; run: {command}", ""]))
    return 1


if __name__ == "__main__":
    sys.exit(main())
