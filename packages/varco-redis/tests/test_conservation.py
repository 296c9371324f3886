"""Every event is accounted for on Redis, whatever fails and whenever a process is killed."""

import asyncio
import contextlib
import secrets
import socket
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID

import pytest
import redis.asyncio

from varco_events import InMemoryInboxRepository, InMemoryOutboxRepository
from varco_events.testing import ConservationContract, EventStores
from varco_redis import (
    RedisDeadLetterQueue,
    RedisDeadLetterQueueSettings,
    RedisDeduplicator,
    RedisDeduplicatorSettings,
    RedisEventBus,
    RedisEventBusSettings,
)

_QUIET = 0.1


class Line:
    """Between one process and Redis: every packet is an await at which it may be cut."""

    def __init__(self, url, life):
        self._there = urlsplit(url)
        self._life = life
        self._writers = set()
        self._tasks = set()
        self._server = None
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        life.on_death(self.cut)

    @property
    def url(self):
        port = self._socket.getsockname()[1]
        return self._there._replace(netloc=f"127.0.0.1:{port}").geturl()

    async def open(self):
        self._server = await asyncio.start_server(self._serve, sock=self._socket)

    def cut(self):
        if self._life.is_over and self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def close(self):
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._life.is_over:
            writer.transport.abort()
            return
        self._writers.add(writer)  # it may be cut before there is another end
        try:
            there = await asyncio.open_connection(self._there.hostname, self._there.port or 6379)
            self._writers.add(there[1])
            if writer.transport.is_closing():
                there[1].transport.abort()
            await asyncio.gather(self._pump(reader, there[1]), self._pump(there[0], writer))
        finally:
            writer.transport.abort()

    async def _pump(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 20):
                if self._life.count() == "error":
                    self.cut()
                if writer.transport.is_closing():
                    break
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


class Bus(RedisEventBus):
    """That of one process, on a line of its own."""

    def __init__(self, settings, line, **options):
        super().__init__(settings, **options)
        self.line = line

    async def start(self):
        await self.line.open()
        await super().start()

    async def stop(self, timeout=None):
        try:
            return await super().stop(timeout)
        finally:
            await self.line.close()


class TestStreams(ConservationContract):
    share = 0.1
    stride = 400
    lease = 60.0
    groups = ("mailers", "audit")

    @pytest.fixture(autouse=True)
    def _server(self, url, prefix):
        self.url, self.prefix = url, prefix

    def clock(self):
        return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    @asynccontextmanager
    async def open_stores(self):
        self.seconds = 0.0
        self.buses = []
        self.base = f"{self.prefix}{secrets.token_hex(4)}:"
        where = {"url": self.url, "key_prefix": self.base}
        async with (
            redis.asyncio.Redis.from_url(self.url) as self.client,
            RedisDeadLetterQueue(RedisDeadLetterQueueSettings(**where)) as letters,
            RedisDeduplicator(RedisDeduplicatorSettings(**where)) as seen,
        ):
            yield EventStores(
                outbox=InMemoryOutboxRepository(clock=self.clock),
                dead_letters=letters,
                inbox=InMemoryInboxRepository(clock=self.clock),
                deduplicator=seen,
            )

    def open_bus(self, group, life, *, middleware, dead_letters):
        line = Line(self.url, life)
        settings = RedisEventBusSettings(
            url=line.url,
            key_prefix=self.base,
            group=group,
            partitions=2,
            lease=5.0,
            max_attempts=3,
            retry_delay=0.001,
            max_retry_delay=0.005,
            timeout=0.5,
        )
        bus = Bus(settings, line, middleware=middleware, dead_letters=dead_letters)
        self.buses.append((bus, life))
        return bus

    async def advance(self, seconds):
        """Leases of dead letters end, and those of processes that were killed."""
        self.seconds += seconds
        leased = f"{{{self.base}dead-letters}}:leased"
        for entry, until in await self.client.zrange(leased, 0, -1, withscores=True):
            await self.client.zadd(leased, {entry: until - seconds * 1000})
        alive = {
            bus._member._mine.process.encode()
            for bus, life in self.buses
            if bus._member is not None and not life.is_over
        }
        for group in self.groups:
            members, owners = (
                f"{self.base}{{conserved}}:{name}:{group}" for name in ("members", "owners")
            )
            for process in set(await self.client.zrange(members, 0, -1)) - alive:
                await self.client.zadd(members, {process: 1})
            for name, held in (await self.client.hgetall(owners)).items():
                process, *rest = held.split(b" ")
                if name != b"fence" and process not in alive:
                    at = 1 if name.isdigit() else 0
                    rest[at] = b"1"
                    await self.client.hset(owners, name, b" ".join([process, *rest]))

    async def in_transit(self, group):
        found = set()
        for number in range(2):
            stream = f"{self.base}{{conserved}}:{number}"
            entries = await self.client.xrange(stream)
            if not entries:
                continue
            groups = {one["name"]: one for one in await self.client.xinfo_groups(stream)}
            if group.encode() in groups:
                last = _parsed(groups[group.encode()]["last-delivered-id"])
                pending = await self.client.xpending_range(stream, group, "-", "+", 10_000)
                taken = {one["message_id"] for one in pending}
                entries = [one for one in entries if one[0] in taken or _parsed(one[0]) > last]
            found.update(UUID(fields[b"varco-id"].decode()) for _, fields in entries)
        return found

    async def bring(self, life):
        before, quiet = None, 0.0
        while quiet < _QUIET and not life.is_over:
            now = [await self.in_transit(group) for group in self.groups]
            if not any(now):
                return
            quiet = quiet + 0.01 if now == before else 0.0
            before = now
            await asyncio.sleep(0.01)


def _parsed(number):
    return tuple(map(int, number.split(b"-")))
