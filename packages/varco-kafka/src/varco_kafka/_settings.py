"""Where Kafka is and how to talk to it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from varco_events import EnvSettings, mask_url
from varco_kafka._errors import KafkaConfigError
from varco_kafka._secrets import hide_passwords

SCHEMES = ("kafka", "kafka+tls")
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class KafkaSettings(EnvSettings):
    """Where Kafka is and how to talk to it; the base of the settings of each part.

    Attributes:
        url: `kafka://host:9092,other:9092`; `kafka+tls://` for TLS.
        username: For SASL; wins over the one of the URL.
        password: Likewise; never shown in a repr, an error or a log.
        sasl_mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, where there is a username.
        tls_ca_file: The authorities to trust instead of the system's.
        tls_cert_file: A certificate of the client.
        tls_key_file: Its key.
        tls_verify: Whether the server's certificate and name are checked.
        timeout: Seconds for one operation, its retries included.
        client_id: What the logs of the servers call this process.
        idempotent: Whether what is sent again because an answer was lost is written once; for the
            few servers that speak Kafka's protocol and cannot.
    """

    env_prefix: ClassVar[str] = "VARCO_KAFKA_"
    secrets: ClassVar[frozenset[str]] = frozenset({"password"})
    config_error: ClassVar[type[Exception]] = KafkaConfigError

    url: str = "kafka://localhost:9092"
    username: str | None = None
    password: str | None = None
    sasl_mechanism: str = "PLAIN"
    tls_ca_file: str | None = None
    tls_cert_file: str | None = None
    tls_key_file: str | None = None
    tls_verify: bool = True
    timeout: float = 5.0
    client_id: str = "varco"
    idempotent: bool = True

    def __post_init__(self) -> None:
        address = urlsplit(self.url)
        if address.scheme not in SCHEMES:
            raise KafkaConfigError(
                "url", mask_url(self.url), f"must begin with one of {', '.join(SCHEMES)}, and ://"
            )
        if address.query or address.fragment or address.path.strip("/"):
            raise KafkaConfigError(
                "url",
                mask_url(self.url),
                "give options as settings, and percent-encode / ? # and @ in a password",
            )
        if not self.servers:
            raise KafkaConfigError("url", mask_url(self.url), "name a host, as kafka://host:9092")
        if self.sasl_mechanism not in _MECHANISMS:
            raise KafkaConfigError(
                "sasl_mechanism", self.sasl_mechanism, f"one of {', '.join(_MECHANISMS)}"
            )
        self.check_above_zero("timeout")

    @property
    def servers(self) -> str:
        """The hosts and ports of the URL, with commas between them."""
        return urlsplit(self.url).netloc.rpartition("@")[2]


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """What every client of aiokafka is made with.

    Raises:
        KafkaConfigError: a file of TLS cannot be read.
    """
    address = urlsplit(settings.url)
    user, _, password = address.netloc.rpartition("@")[0].partition(":")
    user = settings.username or unquote(user)
    password = settings.password or unquote(password)
    options: dict[str, Any] = {
        "bootstrap_servers": settings.servers,
        "client_id": settings.client_id,
        "request_timeout_ms": int(settings.timeout * 1000),
    }
    protocol = "PLAINTEXT"
    if address.scheme == "kafka+tls":
        protocol = "SSL"
        options["ssl_context"] = _tls(settings)
    if user:
        hide_passwords()
        protocol = f"SASL_{protocol}"
        options |= {
            "sasl_mechanism": settings.sasl_mechanism,
            "sasl_plain_username": user,
            "sasl_plain_password": password,
        }
    options["security_protocol"] = protocol
    return options


def _tls(settings: KafkaSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.tls_ca_file)
        if settings.tls_cert_file is not None:
            context.load_cert_chain(settings.tls_cert_file, settings.tls_key_file)
    except (OSError, ssl.SSLError) as error:
        files = settings.tls_ca_file, settings.tls_cert_file, settings.tls_key_file
        raise KafkaConfigError(
            "tls_ca_file, tls_cert_file, tls_key_file", files, str(error)
        ) from error
    if not settings.tls_verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
