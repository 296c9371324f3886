"""Where Redis is and how to talk to it."""

from __future__ import annotations

import dataclasses
import os
import re
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, get_args, get_type_hints
from urllib.parse import SplitResult, unquote, urlsplit

from varco_redis._errors import RedisConfigError
from varco_redis._renamed import Renamed, name_now, names_before

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SECRET = "***"  # noqa: S105 # what stands for one
_SECRETS = frozenset({"password", "sentinel_password"})
# Up to the last @, for a password that should have been percent-encoded.
_PASSWORD = re.compile(r"(?<=://)([^:/@]*):.*@", re.DOTALL)
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
SCHEMES = (
    "redis",
    "rediss",
    "unix",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
)
_AMOUNT = "must be above zero, a plain number (of a timedelta, its total_seconds())"
# More than Redis can count.
_TOO_MUCH = 2**63


def _is_amount(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 < value < _TOO_MUCH


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RedisSettings(metaclass=Renamed):
    """Where Redis is and how to talk to it; the base of the settings of each part.

    Attributes:
        url: `redis://host:6379/0`, `rediss://` for TLS, `unix:///path`,
            `redis+sentinel://host:26379,other:26379/master/0` or
            `redis+cluster://host:7000,other:7001`; `rediss+...` with TLS.
        username: Of an ACL user; wins over the one of the URL.
        password: Likewise; never shown in a repr, an error or a log.
        sentinel_username: Of an ACL user of the sentinels, who have users of their own.
        sentinel_password: Likewise, and as little shown.
        tls_ca_file: The authorities to trust instead of the system's.
        tls_cert_file: A certificate of the client.
        tls_key_file: Its key.
        tls_verify: Whether the server's certificate and name are checked.
        timeout: Seconds for one operation, its retries included.
        connect_timeout: Seconds for one attempt to connect.
        max_connections: Most connections at once, blocking reads apart.
        retries: How often an operation is repeated whose connection broke, with back-off and
            jitter.
        client_name: What `CLIENT LIST` calls the connections.
    """

    url: str = "redis://localhost:6379/0"
    username: str | None = None
    password: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = None
    tls_ca_file: str | None = None
    tls_cert_file: str | None = None
    tls_key_file: str | None = None
    tls_verify: bool = True
    timeout: float = 5.0
    connect_timeout: float = 2.0
    max_connections: int = 10
    retries: int = 2
    client_name: str = "varco"

    def __post_init__(self) -> None:
        address = urlsplit(self.url)
        if address.scheme not in SCHEMES:
            raise RedisConfigError(
                "url", mask(self.url), f"must begin with one of {', '.join(SCHEMES)}, and ://"
            )
        if address.query or address.fragment or (address.scheme != "unix" and "@" in address.path):
            raise RedisConfigError(
                "url",
                mask(self.url),
                "give options as settings, and percent-encode / ? # and @ in a password",
            )
        if address.scheme.endswith("+sentinel") and not address.path.strip("/"):
            raise RedisConfigError("url", mask(self.url), "name the master: .../mymaster/0")
        self._check_above_zero("timeout", "connect_timeout", "max_connections")
        if self.retries < 0:
            raise RedisConfigError("retries", self.retries, "0 or more")

    def _check_above_zero(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if value is not None and not _is_amount(value):
                raise RedisConfigError(name, value, _AMOUNT)

    def __repr__(self) -> str:
        shown: list[str] = []
        for one in dataclasses.fields(self):
            value = getattr(self, one.name)
            if value == one.default:
                continue
            if one.name in _SECRETS:
                value = _SECRET
            elif one.name == "url":
                value = mask(value)
            shown.append(f"{one.name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    if not TYPE_CHECKING:  # checkers are to see the names of now alone

        def __getattr__(self, name: str) -> Any:
            new = name_now(type(self), name)
            if new is None:
                raise AttributeError(f"{type(self).__name__} has no setting {name!r}")
            return getattr(self, new)

    @property
    def is_cluster(self) -> bool:
        """Whether keys are spread over several servers."""
        return urlsplit(self.url).scheme.endswith("+cluster")

    @classmethod
    def from_env(
        cls, prefix: str = "VARCO_REDIS_", environ: Mapping[str, str] = os.environ
    ) -> Self:
        """Settings from variables such as `VARCO_REDIS_URL`; what is not there is default.

        Raises:
            RedisConfigError: A variable is there but is no such value; secrets are not shown.
        """
        hints = get_type_hints(cls)
        found: dict[str, Any] = {}
        for one in dataclasses.fields(cls):
            for key in (one.name, *names_before(one.name)):
                name = prefix + key.upper()
                text = environ.get(name)
                if text:
                    try:
                        found[key] = _reader(hints[one.name])(text)
                    except ValueError as error:
                        raise RedisConfigError(name, text, str(error)) from None
                    break
        return cls(**found)


def _reader(hint: Any) -> Callable[[str], Any]:
    kinds = {hint, *get_args(hint)}
    if bool in kinds:
        return _boolean
    for kind in (int, float):
        if kind in kinds:
            return kind
    if getattr(hint, "__origin__", None) is tuple:
        return _words
    return str


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(f"one of {', '.join(sorted(_TRUE | _FALSE))}")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def mask(url: str) -> str:
    """The URL without its password and query, for errors and logs."""
    return _PASSWORD.sub(rf"\1:{_SECRET}@", url).partition("?")[0]


@dataclass(frozen=True, slots=True)
class Address:
    """What a URL says."""

    kind: str
    hosts: tuple[tuple[str, int], ...]
    database: int
    service: str
    path: str
    tls: bool
    username: str | None
    password: str | None = field(repr=False)

    def __str__(self) -> str:
        return self.path or ",".join(f"{host}:{port}" for host, port in self.hosts)


def address_of(settings: RedisSettings) -> Address:
    """The parts of the URL of the settings.

    Raises:
        RedisConfigError: A part makes no sense.
    """
    url = urlsplit(settings.url)
    scheme, _, kind = url.scheme.partition("+")
    credentials, _, hosts = url.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    default = 26379 if kind == "sentinel" else 6379
    parts = [part for part in url.path.split("/") if part]
    service = parts.pop(0) if kind == "sentinel" else ""
    return Address(
        kind=kind or ("unix" if scheme == "unix" else "single"),
        hosts=tuple(_host(settings, one, default) for one in (hosts or "localhost").split(",")),
        database=_database(settings, url, parts),
        service=service,
        path=url.path if scheme == "unix" else "",
        tls=scheme == "rediss",
        username=settings.username or unquote(user) or None,
        password=settings.password or unquote(password) or None,
    )


def _host(settings: RedisSettings, text: str, default: int) -> tuple[str, int]:
    try:
        one = urlsplit(f"//{text}")
        port = one.port or default
    except ValueError:
        raise RedisConfigError("url", mask(settings.url), f"{text!r} is no host:port") from None
    return one.hostname or "localhost", port


def _database(settings: RedisSettings, url: SplitResult, parts: list[str]) -> int:
    if url.scheme == "unix" or not parts:
        return 0
    try:
        return int(parts[0])
    except ValueError:
        raise RedisConfigError(
            "url", mask(settings.url), f"{parts[0]!r} is no number of a database"
        ) from None


def host_name() -> str:
    """This machine's name, as the first part of names that must differ between machines."""
    return socket.gethostname().split(".")[0] or "localhost"
