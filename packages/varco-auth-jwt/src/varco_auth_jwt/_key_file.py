"""A private key in a file, made by whoever comes first."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from varco_auth_jwt._jwk_builder import JwkBuilder


def read_or_make(path: Path, create: str | None) -> bytes:
    """The PEM of a file; without one, and with an algorithm, of a key that is made and kept there.

    Raises:
        OSError: there is no file, or it cannot be read or made.
    """
    if create is not None and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        pem = JwkBuilder.generate(create).to_pem(include_private=True)
        handle, draft = tempfile.mkstemp(dir=path.parent)  # only its owner may read it
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(pem)
            with suppress(FileExistsError):  # another one was first
                os.link(draft, path)
        finally:
            Path(draft).unlink()
    return path.read_bytes()
