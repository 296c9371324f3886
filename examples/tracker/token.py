"""Prints a token: ./scripts/uv run examples/tracker/token.py --help."""

import sys
from argparse import ArgumentParser
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # this folder would hide modules of Python's own

if __name__ == "__main__":
    from tracker.app import authority
    from tracker.services import ROLES

    parser = ArgumentParser(description="Print a token for a day.")
    parser.add_argument("--user", required=True)
    parser.add_argument("--tenant", required=True)
    parser.add_argument("--role", choices=sorted(ROLES), required=True)
    given = parser.parse_args()
    token = authority().token().subject(given.user).claim("roles", [given.role])
    print(token.claim("tenant", given.tenant).expires_in(86_400).build())
