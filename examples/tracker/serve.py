"""Serves the tracker: ./scripts/uv run examples/tracker/serve.py --help."""

import sys
from argparse import ArgumentParser
from os import environ
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # this folder would hide modules of Python's own

if __name__ == "__main__":
    import uvicorn

    parser = ArgumentParser(description="Serve the tracker.")
    parser.add_argument("--framework", choices=("fastapi", "litestar"), default="fastapi")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", default="1")
    for name in ("database", "redis", "kafka"):
        parser.add_argument(f"--{name}", help="a URL; else a file, or this process", default="")
    parser.add_argument("--trace", action="store_true", help="print the spans")
    given = parser.parse_args()
    for name in ("workers", "database", "redis", "kafka"):
        environ[f"TRACKER_{name.upper()}"] = getattr(given, name)
    app = f"tracker.{'tracing' if given.trace else 'app'}:{given.framework}"
    uvicorn.run(app, factory=True, port=given.port, workers=int(given.workers), app_dir=sys.path[0])
