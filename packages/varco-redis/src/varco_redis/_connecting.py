"""How connections are made: to one server, by a path, through sentinels, to a cluster."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection
from redis.asyncio.connection import UnixDomainSocketConnection as UnixConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from varco_redis._settings import Address, RedisSettings


class Connecting:
    """Makes the connections of a link in one event loop; who uses them closes them."""

    def __init__(self, settings: RedisSettings, address: Address) -> None:
        self.settings = settings
        self.address = address
        self._pool: Any = None
        self._sentinel: Any = None
        self._cluster: RedisCluster | None = None

    async def close(self) -> None:
        """End what it talks to sentinels and clusters with."""
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            await cluster.aclose()
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.aclose()
        sentinel, self._sentinel = self._sentinel, None
        if sentinel is not None:
            for client in sentinel.sentinels:
                with contextlib.suppress(RedisError, OSError):
                    await client.aclose()

    def _options(self) -> dict[str, Any]:
        address, settings = self.address, self.settings
        options: dict[str, Any] = {
            "username": address.username,
            "password": address.password,
            "protocol": 3,
            "socket_timeout": None,
            "socket_connect_timeout": settings.connect_timeout,
            "client_name": settings.client_name,
            "retry": Retry(NoBackoff(), 0),
        }
        return options | self._tls()

    def _tls(self) -> dict[str, Any]:
        settings = self.settings
        if not self.address.tls:
            return {}
        return {
            "ssl_ca_certs": settings.tls_ca_file,
            "ssl_certfile": settings.tls_cert_file,
            "ssl_keyfile": settings.tls_key_file,
            "ssl_cert_reqs": "required" if settings.tls_verify else "none",
            "ssl_check_hostname": settings.tls_verify,
        }

    def pool(self) -> Any:
        """What makes connections; it is asked for new ones only."""
        if self._pool is not None:
            return self._pool
        address, options = self.address, self._options()
        options["db"] = address.database
        if address.kind == "sentinel":
            tls = {"ssl": True} if address.tls else {}
            make: Any = Sentinel  # redis-py leaves it untyped
            sentinel = self._sentinel = make(
                list(address.hosts),
                sentinel_kwargs={
                    "username": self.settings.sentinel_username,
                    "password": self.settings.sentinel_password,
                    "socket_timeout": self.settings.connect_timeout,
                    "protocol": 2,  # of RESP3 redis-py 6 does not understand sentinels
                    "retry": Retry(NoBackoff(), 0),  # the next one is asked instead
                    **tls,
                    **self._tls(),
                },
            )
            options |= tls
            pool: Any = SentinelConnectionPool
            self._pool = pool(address.service, sentinel, **options)
        elif address.kind == "unix":
            self._pool = ConnectionPool(
                connection_class=UnixConnection, path=address.path, **options
            )
        else:
            ((host, port), *_) = address.hosts
            kind = SSLConnection if address.tls else Connection
            self._pool = ConnectionPool(connection_class=kind, host=host, port=port, **options)
        return self._pool

    def cluster(self) -> RedisCluster:
        """The client of the cluster."""
        if self._cluster is None:
            options = self._options()
            options.pop("retry")
            self._cluster = RedisCluster(
                startup_nodes=[ClusterNode(host, port) for host, port in self.address.hosts],
                max_connections=self.settings.max_connections,
                ssl=self.address.tls,
                **options,
            )
        return self._cluster
