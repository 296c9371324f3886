"""Has strangers read the OpenAPI documents of the tracker, and use what they say.

Run it as .ci/run does. On each framework openapi-spec-validator takes the document,
openapi-python-client makes a client of all of it, which creates tickets, pages and patches, and
schemathesis finds no 5xx, and no status, header, body or media type that is not in the document.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[1] / "examples"
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance"
)
# What is made before, so that most operations find a row; what is deleted is another one.
CONFIG = """
[parameters]
"path.pk" = 1
"path.project_id" = 1
"path.ticket_id" = 1

[[operations]]
include-method = "DELETE"
parameters = { "path.pk" = 2 }
"""
CLIENT = """
import sys
from tracker_client import AuthenticatedClient
from tracker_client.api.comments import create_comments
from tracker_client.api.projects import create_projects
from tracker_client.api.tickets import create_tickets, get_tickets, list_tickets, patch_tickets
from tracker_client.models import ChangeTicketPatch, CreateProject, NewComment, NewTicket

client = AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2])
for number in (1, 2):
    project = create_projects.sync(client=client, body=CreateProject(key=f"P{number}", name="x"))
    ticket = NewTicket(project_id=project.pk, title=f"ticket {number}")
    made = create_tickets.sync(client=client, body=ticket)
    assert made.title == ticket.title, made
    body = NewComment(ticket_id=made.pk, text="since Monday")
    assert create_comments.sync(made.pk, client=client, body=body).text == "since Monday"
first = list_tickets.sync(client=client, limit=1, sort="pk")
second = list_tickets.sync(client=client, limit=1, sort="pk", cursor=first.next_.cursor)
assert [row.title for row in (*first.results, *second.results)] == ["ticket 1", "ticket 2"]
assert second.next_ is None, second
tag = get_tickets.sync_detailed(1, client=client).headers["etag"]
change = ChangeTicketPatch(title="changed")
assert patch_tickets.sync(1, client=client, body=change, if_match=tag).title == "changed"
stale = patch_tickets.sync(1, client=client, body=change, if_match=tag)
assert (stale.status, stale.code) == (412, "http.precondition_failed"), stale
"""


@contextmanager
def served(framework: str, home: Path) -> Iterator[str]:
    """The address of a tracker of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # A filter of the greatest length is more than uvicorn takes for the first line by default.
    options = ["--factory", "--port", str(port), "--h11-max-incomplete-event-size", "1000000"]
    command = ["-m", "uvicorn", f"tracker.app:{framework}", "--app-dir", str(EXAMPLES), *options]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, *command, "--no-access-log"],
            env=os.environ | {"TRACKER_HOME": str(home)},
            stdout=log,
            stderr=log,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(1_200):
            try:
                if httpx.get(f"{url}/health/ready", timeout=60).is_success:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        yield url
    except BaseException:
        print((home / "log").read_text()[-4_000:])
        raise
    finally:
        server.terminate()
        server.wait()


def run(*words: str, cwd: Path, environment: dict[str, str] | None = None) -> str:
    """What a command says; raises with it if the command fails."""
    done = subprocess.run(
        words,
        cwd=cwd,
        env=os.environ | (environment or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)[:200]}\n{done.stdout[-8_000:]}{done.stderr[-2_000:]}")
    return done.stdout


def check(framework: str, examples: int) -> str:
    """Have the strangers look at one framework."""
    with tempfile.TemporaryDirectory(prefix=f"varco-{framework}-") as folder:
        home = Path(folder)
        with served(framework, home) as url:
            words = ["--user", "ann", "--tenant", "acme", "--role", "admin"]
            token = run(
                sys.executable,
                str(EXAMPLES / "tracker" / "token.py"),
                *words,
                cwd=home,
                environment={"TRACKER_HOME": str(home)},
            ).strip()
            (home / "openapi.json").write_bytes(
                httpx.get(f"{url}/openapi.json", timeout=60).content
            )
            run(tool("openapi-spec-validator"), "openapi.json", cwd=home)
            generate = ["generate", "--path", "openapi.json", "--meta", "none"]
            output = ["--output-path", "tracker_client"]
            said = run(tool("openapi-python-client"), *generate, *output, cwd=home)
            if "arning" in said:
                raise RuntimeError(said)
            run(sys.executable, "-c", CLIENT, url, token, cwd=home)
            (home / "schemathesis.toml").write_text(CONFIG)
            told = run(
                tool("schemathesis"),
                *("--config-file", "schemathesis.toml", "run", f"{url}/openapi.json"),
                *("--header", f"Authorization: Bearer {token}", "--checks", CHECKS, "--no-color"),
                *("--phases", "examples,coverage,fuzzing", "--max-examples", str(examples)),
                *("--seed", "1", "--generation-database", "none"),
                cwd=home,
            )
            return told[told.rfind("SUMMARY") :]


def tool(name: str) -> str:
    """The path of a program of this environment."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        raise SystemExit(f"{name} is not installed: uv run --with {name} {__file__}")
    return found


def main() -> None:
    """Look at both frameworks at once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=1, help="how many random ones of each")
    given = parser.parse_args()
    with ThreadPoolExecutor() as pool:
        tried = {name: pool.submit(check, name, given.examples) for name in ("fastapi", "litestar")}
    for framework, told in tried.items():
        print(f"{framework}: {told.result()}")


if __name__ == "__main__":
    main()
