"""Connections to Redis: time limits, reconnects with back-off and jitter, one kind of error."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import hiredis
from redis.exceptions import (
    AuthenticationError,
    ClusterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from varco_events import back_off
from varco_redis._connecting import Connecting
from varco_redis._errors import RedisUnavailableError
from varco_redis._settings import Address, RedisSettings, address_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

type Hook = Callable[[Any], Awaitable[None]]
type Command = tuple[Any, ...]
type Call = tuple[Script, Sequence[Any], Sequence[Any]]

# redis-py packs in Python what hiredis, which reads its answers, packs ten times as fast.
_packed = cast("Callable[[Command], bytes]", hiredis.pack_command)  # pyright: ignore[reportUnknownMemberType] # typed in part

_LONGEST_REASON = 300
# What another attempt, on another connection, may cure.
_BROKEN = (RedisConnectionError, RedisTimeoutError, OSError, EOFError)
_ELSEWHERE = (ReadOnlyError, ClusterDownError, TryAgainError)
# What no attempt cures but who runs the server: the same command is taken once that is done.
_UNTIL_REPAIRED = (OutOfMemoryError, NoPermissionError, RedisClusterException)
_FORBIDDEN_COMMAND = " to run "  # in what Redis says; else a key is forbidden
_REFUSALS = frozenset({"MISCONF", "NOREPLICAS", "BUSY", "UNKILLABLE"})


class Script:
    """A Lua script and the digest it is called by."""

    __slots__ = ("sha", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def is_outage(error: BaseException) -> bool:
    """Whether Redis cannot do what it is told for now, whatever it is told."""
    if isinstance(error, (*_BROKEN, *_ELSEWHERE, *_UNTIL_REPAIRED)):
        return True
    return isinstance(error, ResponseError) and str(error).partition(" ")[0] in _REFUSALS


class Link:
    """Commands to one Redis, from any number of tasks of one event loop.

    A command is repeated when its connection broke, so it may have been done twice: whoever sends
    one that must not be sends something that Redis recognizes. State is protected by never
    awaiting between looking and changing.
    """

    def __init__(self, settings: RedisSettings, *, on_connect: Hook | None = None) -> None:
        self.settings = settings
        self.address: Address = address_of(settings)
        self._on_connect = on_connect
        self._limit = settings.timeout
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: list[Any] = []
        self._room = asyncio.Semaphore(settings.max_connections)
        self._connecting = Connecting(settings, self.address)
        # Scripts that Redis was told in this life of the link; it may have forgotten them.
        self._loaded: set[str] = set()

    async def call(self, *args: Any) -> Any:
        """The answer to one command.

        Raises:
            RedisUnavailableError: None within the time limit.
            redis.exceptions.ResponseError: Redis refused it.
        """
        if self.settings.is_cluster:
            return await self._clustered(args)

        async def exchange(connection: Any) -> Any:
            await connection.send_packed_command((_packed(args),), check_health=False)
            return await connection.read_response()

        return await self._connected(args, exchange)

    async def run(self, script: Script, keys: Sequence[Any], *args: Any) -> Any:
        """The answer of a script."""
        try:
            return await self.call("EVALSHA", script.sha, len(keys), *keys, *args)
        except NoScriptError:
            return await self.call("EVAL", script.text, len(keys), *keys, *args)

    async def pipeline(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to commands that are sent at once; refusals among them as exceptions."""
        if not commands:
            return []
        if self.settings.is_cluster:
            answers = await asyncio.gather(*map(self._clustered, commands), return_exceptions=True)
            return _without_outages(answers)

        async def exchange(connection: Any) -> list[Any]:
            packed = [_packed(tuple(command)) for command in commands]
            await connection.send_packed_command(packed, check_health=False)
            answers: list[Any] = []
            for _ in commands:
                try:
                    answers.append(await connection.read_response())
                except ResponseError as error:
                    answers.append(error)
            return _without_outages(answers)

        return await self._connected(commands[0], exchange)

    async def run_each(self, calls: Sequence[Call]) -> list[Any]:
        """The answers of scripts that are called at once, in order; refusals as exceptions."""
        if self.settings.is_cluster:
            runs = (self.run(script, keys, *args) for script, keys, args in calls)
            return _without_outages(await asyncio.gather(*runs, return_exceptions=True))
        for script in {script.sha: script for script, _, _ in calls}.values():
            if script.sha not in self._loaded:
                await self.call("SCRIPT", "LOAD", script.text)
                self._loaded.add(script.sha)
        commands = [
            ("EVALSHA", script.sha, len(keys), *keys, *args) for script, keys, args in calls
        ]
        answers = await self.pipeline(commands)
        if any(isinstance(answer, NoScriptError) for answer in answers):
            # Redis was restarted or its scripts were flushed: nothing of these was done.
            for index, (script, keys, args) in enumerate(calls):
                if isinstance(answers[index], NoScriptError):
                    try:
                        answers[index] = await self.run(script, keys, *args)
                    except ResponseError as error:
                        answers[index] = error
        return answers

    async def run_many(self, calls: Sequence[Call]) -> list[Any]:
        """The same; the first refusal is raised."""
        return self.all_right(await self.run_each(calls))

    def all_right(self, answers: list[Any]) -> list[Any]:
        """The answers, unless there is a refusal among them: then the first is raised."""
        for answer in answers:
            if isinstance(answer, NoPermissionError):
                raise self.unavailable(("a command",), answer) from answer
            if isinstance(answer, BaseException):
                raise answer
        return answers

    @contextlib.asynccontextmanager
    async def own(self) -> AsyncGenerator[Own]:
        """A connection for one task alone, made when it is used and closed at the end."""
        own = Own(self)
        try:
            yield own
        finally:
            await own.close()

    async def is_healthy(self) -> bool:
        """Whether Redis answers and is no read-only replica, as far as it says so."""
        try:
            role: Any = await self.call("ROLE")
        except RedisUnavailableError as error:
            if not isinstance(error.__cause__, NoPermissionError):
                return False
            return await self._answers()  # ROLE is for few ACL users
        return bool(role) and role[0] in {b"master", "master"}

    async def _answers(self) -> bool:
        try:
            return bool(await self.call("PING"))
        except RedisUnavailableError:
            return False

    async def close(self) -> None:
        """Close the connections that lie idle; those in use are closed by whoever has them."""
        idle, self._idle = self._idle, []
        for connection in idle:
            with contextlib.suppress(RedisError, OSError):
                await connection.disconnect()
        await self._connecting.close()

    async def connect(self) -> Any:
        """A new connection, greeted."""
        self._meet_loop()
        pool: Any = self._connecting.pool()  # redis-py leaves parts untyped
        connection: Any = pool.make_connection()
        try:
            await connection.connect()
            if self._on_connect is not None:
                await self._on_connect(connection)
        except BaseException:
            with contextlib.suppress(Exception):
                await connection.disconnect(nowait=True)
            raise
        return connection

    def unavailable(self, command: Command, error: BaseException) -> RedisUnavailableError:
        """What a caller is told; no argument of the command, for it may be a secret."""
        reason = str(error) or type(error).__name__
        if isinstance(error, TimeoutError) and not isinstance(error, RedisError):
            reason = f"no answer within {self._limit} s"
        for secret in (self.address.password, self.settings.sentinel_password):
            if secret:
                reason = reason.replace(secret, "***")
        return RedisUnavailableError(str(self.address), str(command[0]), reason[:_LONGEST_REASON])

    async def _connected[T](self, command: Command, exchange: Callable[[Any], Awaitable[T]]) -> T:
        """What `exchange` makes of a connection, repeated on another when it breaks."""
        attempt = 0
        try:
            async with asyncio.timeout(self._limit):
                while True:
                    try:
                        connection = await self._take()
                        try:
                            answer = await exchange(connection)
                        except ResponseError as error:
                            if isinstance(error, _ELSEWHERE):
                                await self._drop(connection)
                            else:
                                self._give(connection)
                            raise
                        except BaseException:
                            await self._drop(connection)
                            raise
                        else:
                            self._give(connection)
                            return answer
                    except (*_BROKEN, *_ELSEWHERE) as error:
                        await self._recover(error, attempt)
                        attempt += 1
        except Exception as error:
            if is_outage(error):
                raise self.unavailable(command, error) from error
            raise

    async def _clustered(self, command: Command) -> Any:
        """The answer of whichever server has the key."""
        attempt = 0
        try:
            async with asyncio.timeout(self._limit):
                while True:
                    self._meet_loop()
                    cluster = self._connecting.cluster()
                    try:
                        async with self._room:  # redis-py refuses what needs more connections
                            return await cluster.execute_command(*command)
                    except Exception as error:
                        # When redis-py learns anew where the servers are, it closes the
                        # connections of all tasks: what they meet then may be any error.
                        if isinstance(error, ResponseError) and not isinstance(error, _ELSEWHERE):
                            raise
                        await self._recover(error, attempt)
                        attempt += 1
        except Exception as error:
            if is_outage(error) or not isinstance(error, ResponseError):
                raise self.unavailable(command, error) from error
            raise

    async def _take(self) -> Any:
        self._meet_loop()
        await self._room.acquire()
        try:
            return self._idle.pop() if self._idle else await self.connect()
        except BaseException:
            self._room.release()
            raise

    def _meet_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            # A cache of a module may meet several loops, one after the other.
            self._loop, self._idle = loop, []
            self._connecting = Connecting(self.settings, self.address)
            self._room = asyncio.Semaphore(self.settings.max_connections)

    def _give(self, connection: Any) -> None:
        self._idle.append(connection)
        self._room.release()

    async def _drop(self, connection: Any) -> None:
        self._room.release()
        with contextlib.suppress(Exception):
            await connection.disconnect(nowait=True)

    async def _recover(self, error: Exception, attempt: int) -> None:
        """Wait before the next attempt, or raise when there is none."""
        if attempt >= self.settings.retries or isinstance(error, AuthenticationError):
            raise error
        # The others lay idle as long as the one that broke.
        idle, self._idle = self._idle, []
        for connection in idle:
            with contextlib.suppress(Exception):
                await connection.disconnect(nowait=True)
        if attempt or not idle:
            await asyncio.sleep(back_off(attempt))


class Own:
    """A connection for one task, for commands that block; it is made again after an error."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.connection: Any = None

    async def call(self, *args: Any, limit: float) -> Any:
        """The answer within `limit` seconds."""
        link = self._link
        try:
            async with asyncio.timeout(limit):
                if self.connection is None:
                    self.connection = await link.connect()
                await self.connection.send_packed_command((_packed(args),), check_health=False)
                return await self.connection.read_response()
        except BaseException as error:
            outage = is_outage(error)
            if outage or not isinstance(error, ResponseError):
                await self.close()
            if outage:
                raise link.unavailable(args, error) from error
            raise

    async def close(self) -> None:
        """Close the connection."""
        connection, self.connection = self.connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                await connection.disconnect(nowait=True)


def _without_outages(answers: list[Any]) -> list[Any]:
    """The answers, unless Redis as a whole is out; what is forbidden is a matter of its keys."""
    for answer in answers:
        if isinstance(answer, NoPermissionError) and _FORBIDDEN_COMMAND not in str(answer):
            continue
        if isinstance(answer, BaseException) and (
            is_outage(answer) or not isinstance(answer, ResponseError)
        ):
            raise answer
    return answers
