"""Where Redis is and how to talk to it."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import SplitResult, unquote, urlsplit

from varco_events import EnvSettings, mask_url
from varco_redis._errors import RedisConfigError
from varco_redis._renamed import Renamed, name_now, names_before

SCHEMES = (
    "redis",
    "rediss",
    "unix",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RedisSettings(EnvSettings, metaclass=Renamed):
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

    env_prefix: ClassVar[str] = "VARCO_REDIS_"
    secrets: ClassVar[frozenset[str]] = frozenset({"password", "sentinel_password"})
    config_error: ClassVar[type[Exception]] = RedisConfigError

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
                "url", mask_url(self.url), f"must begin with one of {', '.join(SCHEMES)}, and ://"
            )
        if address.query or address.fragment or (address.scheme != "unix" and "@" in address.path):
            raise RedisConfigError(
                "url",
                mask_url(self.url),
                "give options as settings, and percent-encode / ? # and @ in a password",
            )
        if address.scheme.endswith("+sentinel") and not address.path.strip("/"):
            raise RedisConfigError("url", mask_url(self.url), "name the master: .../mymaster/0")
        self.check_above_zero("timeout", "connect_timeout", "max_connections")
        if self.retries < 0:
            raise RedisConfigError("retries", self.retries, "0 or more")

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
    def names_before(cls, name: str) -> list[str]:
        """What a setting was called in earlier versions."""
        return names_before(name)


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
        raise RedisConfigError("url", mask_url(settings.url), f"{text!r} is no host:port") from None
    return one.hostname or "localhost", port


def _database(settings: RedisSettings, url: SplitResult, parts: list[str]) -> int:
    if url.scheme == "unix" or not parts:
        return 0
    try:
        return int(parts[0])
    except ValueError:
        raise RedisConfigError(
            "url", mask_url(settings.url), f"{parts[0]!r} is no number of a database"
        ) from None


def host_name() -> str:
    """This machine's name, as the first part of names that must differ between machines."""
    return socket.gethostname().split(".")[0] or "localhost"
