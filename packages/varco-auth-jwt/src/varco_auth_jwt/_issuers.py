"""What the environment says of trusted issuers."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from varco_auth_jwt._errors import AuthorityError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LABEL: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class IssuerConfig:
    """One issuer: `url_value` is what `IssuerSourceFactory.from_string` takes.

    `algorithm` is what the issuer may sign with; for a PEM source it is RS256 unless given.
    """

    label: str
    url_value: str
    iss: str
    algorithm: str | None = None


def issuers_in(environ: Mapping[str, str] | None) -> tuple[IssuerConfig, ...]:
    """The issuers of an environment, by default of the process's; see `AuthorizationConfig`."""
    env = os.environ if environ is None else environ
    labels = [label.strip() for label in env.get("VARCO_ISSUERS", "").split(",")]
    return tuple(_issuer(label, env) for label in labels if label)


def _issuer(label: str, env: Mapping[str, str]) -> IssuerConfig:
    if not _LABEL.fullmatch(label):
        raise AuthorityError(f"{label!r} in VARCO_ISSUERS must be letters, digits and _")
    prefix = f"VARCO_ISSUER_{label.upper()}_"
    missing = [prefix + name for name in ("ISS", "SOURCE") if not env.get(prefix + name)]
    if missing:
        raise AuthorityError(f"{label!r} stands in VARCO_ISSUERS; set {' and '.join(missing)} too")
    return IssuerConfig(
        label, env[prefix + "SOURCE"], env[prefix + "ISS"], env.get(prefix + "ALGORITHM") or None
    )
