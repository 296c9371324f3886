"""Servers that are not one plain Redis: TLS, Sentinel, Cluster."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import subprocess

import pytest
import redis.asyncio
from redis_waiting import until

from varco_cache import MISSING
from varco_events import DeadLetterEntry, Event, FailureFilter
from varco_redis import (
    RedisChannelManager,
    RedisDeadLetterQueue,
    RedisDeadLetterQueueSettings,
    RedisEventBus,
    RedisEventBusSettings,
    RedisLock,
    RedisSettings,
    RedisUnavailableError,
)
from varco_redis.cache import RedisCache, RedisCacheSettings

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


class Spread(Event):
    __event_type__ = "varco.redis.test.spread"
    number: int

    def event_key(self):
        return str(self.number % 3)


async def work(url, **options):
    """Cache, bus and lock on this URL."""
    options |= {"url": url, "timeout": 20.0, "connect_timeout": 10.0}
    async with RedisCache(RedisCacheSettings(**options)) as cache:
        await cache.set_many({f"k{n}": n for n in range(50)}, tags={"t"})
        assert await cache.get_many(f"k{n}" for n in range(50)) == {f"k{n}": n for n in range(50)}
        assert await cache.get("k1") == 1
        await cache.invalidate_tags("t")
        assert await cache.get_many(f"k{n}" for n in range(50)) == {}
        await cache.set("n:1", 1)
        await cache.delete_prefix("n:")
        assert await cache.get("n:1", MISSING) is MISSING

        async def load():
            return "loaded"

        assert await cache.get_or_set("k1", load, tags={"t"}) == "loaded"
        assert await cache.get("k1") == "loaded"
        await cache.clear()
        assert await cache.get("k1", MISSING) is MISSING
    got = []
    bus = RedisEventBus(RedisEventBusSettings(**options, lease=5.0))
    bus.subscribe(Spread, lambda event: got.append(event.number))
    async with bus:
        for channel in ("a", "b"):
            await bus.publish_many([(Spread(number=n), channel) for n in range(30)])
        async with asyncio.timeout(100):
            while len(got) < 60:
                await asyncio.sleep(0.05)
    assert sorted(got) == sorted([*range(30), *range(30)])
    async with RedisLock(RedisSettings(**options)) as locks, locks.hold("a") as held:
        assert held.token
    async with RedisDeadLetterQueue(RedisDeadLetterQueueSettings(**options)) as letters:
        letter = DeadLetterEntry(event=Spread(number=1), handler_name="x", error_type="E")
        await letters.push(letter)
        failures = letters.failures(bus)
        assert [one.count for one in await failures.groups()] == [1]
        assert (await failures.page(FailureFilter(handler="x", key="1"))).items
        assert (await failures.discard_all(FailureFilter(error_type="E"))).done == 1
        assert await letters.pop_batch() == []


def certificate(folder):
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(folder / "cert.pem"), str(folder / "key.pem")


async def test_tls_is_checked(make_server, tmp_path, free_port):
    cert, key = certificate(tmp_path)
    port = free_port()
    files = ("--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert)
    make_server("--tls-port", str(port), "--tls-auth-clients", "yes", *files)
    url = f"rediss://127.0.0.1:{port}/0"
    client = {"tls_cert_file": cert, "tls_key_file": key}
    await work(url, tls_ca_file=cert, **client)
    with pytest.raises(RedisUnavailableError, match=r"(?i)certificate"):
        await RedisCache(RedisCacheSettings(url=url, timeout=20, **client)).get("a")


@pytest.fixture
async def start_sentinel(tmp_path, free_port):
    """Starts a sentinel that watches a server, and says on which port."""
    processes = []

    async def start(master):
        port = free_port()
        config = tmp_path / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 2000\n"
            "requirepass sesame\n"
        )
        processes.append(
            subprocess.Popen(["redis-server", str(config), "--sentinel"], stdout=subprocess.DEVNULL)
        )
        async with redis.asyncio.Redis(port=port, password="sesame", protocol=2) as client:
            await until(lambda: _answers(client))
        return port

    yield start
    for process in processes:
        process.kill()
        process.wait()


async def _answers(client):
    with contextlib.suppress(redis.exceptions.ConnectionError):
        return await client.ping()
    return False


async def test_sentinel_finds_the_master(make_server, start_sentinel, free_port):
    port = await start_sentinel(make_server())
    # The first of the sentinels is down.
    url = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{port}/main/0"
    known = {"sentinel_password": "sesame"}
    await work(url, **known)
    for wrong in ({"url": url}, {"url": url.replace("main", "other"), **known}):
        async with RedisCache(RedisCacheSettings(**wrong, timeout=20.0)) as cache:
            with pytest.raises(RedisUnavailableError, match=r"main|other"):
                await cache.get("a")


async def test_what_was_replicated_goes_on_when_a_replica_is_promoted(make_server, start_sentinel):
    master = make_server()
    make_server("--replicaof", "127.0.0.1", str(master.port))
    port, got = await start_sentinel(master), []
    options = {
        "url": f"redis+sentinel://127.0.0.1:{port}/main/0",
        "sentinel_password": "sesame",
        "timeout": 60.0,
        "retries": 1000,
    }
    bus = RedisEventBus(RedisEventBusSettings(**options, lease=5.0))
    bus.subscribe(Spread, lambda event: got.append(event.number))
    await bus.publish_many([(Spread(number=n), "a") for n in range(30)])
    await bus.dead_letters.push(DeadLetterEntry(event=Spread(number=1), handler_name="x"))

    async def is_replicated():
        found = await admin.info("replication")
        return found.get("slave0", {}).get("offset") == found["master_repl_offset"]

    async def is_known():
        return len(await sentinel.execute_command("SENTINEL", "REPLICAS", "main")) == 1

    async with (
        redis.asyncio.Redis.from_url(master.url) as admin,
        redis.asyncio.Redis(port=port, password="sesame", protocol=2) as sentinel,
    ):
        await until(is_replicated)
        await until(is_known)
    async with bus:
        await until(lambda: len(got) >= 10)
        master.kill()
        await bus.publish_many([(Spread(number=n), "a") for n in range(30, 60)])
        await until(lambda: len({*got}) == 60)
        assert await bus.dead_letters.count() == 1


async def test_a_cluster_keeps_together_what_must_be(make_server):
    servers = [
        make_server("--cluster-enabled", "yes", "--cluster-node-timeout", "15000") for _ in range(3)
    ]
    nodes = [f"127.0.0.1:{server.port}" for server in servers]
    subprocess.run(
        ["redis-cli", "--cluster", "create", *nodes, "--cluster-yes"],
        check=True,
        capture_output=True,
        timeout=100,
    )
    for server in servers:  # each learns of the others in its own time
        async with redis.asyncio.Redis.from_url(server.url) as client, asyncio.timeout(100):
            while b"cluster_state:ok" not in await client.execute_command("CLUSTER", "INFO"):
                await asyncio.sleep(0.02)
    url = f"redis+cluster://{nodes[0]},{nodes[1]}"
    await work(url)
    async with RedisChannelManager(RedisEventBusSettings(url=url, timeout=20.0)) as manager:
        rows = await manager.consumers()
        assert sorted({row.partition for row in rows}) == [0, 1, 2, 3]
        assert {row.consumer for row in rows} == {None}  # all have stopped
    # More tasks than connections wait for their turn.
    settings = RedisCacheSettings(url=url, max_connections=2, timeout=20.0)
    async with RedisCache(settings) as cache:
        await asyncio.gather(*(cache.set(f"k{n}", n) for n in range(100)))
        assert await cache.get_many(f"k{n}" for n in range(100)) == {f"k{n}": n for n in range(100)}
