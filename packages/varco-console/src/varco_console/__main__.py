"""Starts a console by itself: python -m varco_console --app shop.app:console."""

import sys
from argparse import ArgumentParser
from importlib import import_module
from pathlib import Path
from typing import Any

from varco_console._console import Console
from varco_console._errors import ConsoleConfigError


def load(place: str) -> Console:
    """The console that a place names: a module, a colon, and a name in it.

    The name is a console, or a function without parameters that makes one.

    Raises:
        ConsoleConfigError: there is none.
    """
    module, _, name = place.partition(":")
    if not module or not name:
        raise ConsoleConfigError(f"--app is module:name, as in shop.app:console, not {place!r}")
    found: Any = getattr(import_module(module), name, None)
    made = found if isinstance(found, Console) or not callable(found) else found()
    if not isinstance(made, Console):
        raise ConsoleConfigError(f"{place} is no Console, nor a function that makes one")
    return made


def main() -> None:
    """Serve it until it is interrupted."""
    parser = ArgumentParser(prog="python -m varco_console", description="Serve a console.")
    parser.add_argument(
        "--app", required=True, help="module:name of a Console, or of what makes one"
    )
    parser.add_argument("--host", default="127.0.0.1", help="default: this machine alone")
    parser.add_argument("--port", type=int, default=8700)
    given = parser.parse_args()
    sys.path.insert(0, str(Path.cwd()))
    try:
        import uvicorn  # noqa: PLC0415  # an extra
    except ModuleNotFoundError:
        parser.error("this needs uvicorn: pip install 'varco-console[serve]'")
    try:
        console = load(given.app)
    except ConsoleConfigError as error:
        parser.error(str(error))
    uvicorn.run(console, host=given.host, port=given.port)


if __name__ == "__main__":
    main()
