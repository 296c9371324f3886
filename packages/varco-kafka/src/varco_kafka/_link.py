"""A producer and an administrator that are connected when they are needed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError

from varco_kafka._batches import write
from varco_kafka._errors import KafkaUnavailableError, is_refusal, is_too_large, reason_of
from varco_kafka._settings import client_options

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from varco_kafka._batches import Record, Results, Sent
    from varco_kafka._settings import KafkaSettings

logger = logging.getLogger("varco_kafka")

_LINGER_MS = 0
_MOST_IN_BATCH = 262_144  # bytes: a quarter of what servers take unless they are told otherwise


class Link:
    """Writes records and asks for what is known of topics and groups, from any number of tasks.

    Everything takes `timeout` seconds at most. A producer that did not deliver in time is given up
    with what it holds, so that nothing which was reported as failed is written later. One event
    loop owns it; a lock makes sure that clients are connected once.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        compression: str = "none",
        max_bytes: int = 1_000_000,
    ) -> None:
        self.settings = settings
        self._options = client_options(settings)
        self._compression = None if compression == "none" else compression
        self._max_bytes = max_bytes
        self._producer: AIOKafkaProducer | None = None
        self._admin: AIOKafkaAdminClient | None = None
        self._connecting = asyncio.Lock()

    def client_options(self) -> dict[str, Any]:
        """What a consumer is made with."""
        return dict(self._options)

    def unavailable(self, what: str, error: BaseException) -> KafkaUnavailableError:
        """What an outage is raised as."""
        return KafkaUnavailableError(self.settings.servers, what, reason_of(error))

    async def send(self, records: Sequence[Record]) -> list[BaseException | int]:
        """Where each record lies now in its partition, or why it was not written, in their order.

        Those of one topic and key are written in order. Once Kafka is out, all that are left are
        not written, with `KafkaUnavailableError`; other errors are aiokafka's own.
        """
        found: list[BaseException | int | None] = [None] * len(records)
        sent: list[Sent] = []
        producer: AIOKafkaProducer | None = None
        outage: KafkaUnavailableError | None = None
        try:
            async with asyncio.timeout(self.settings.timeout):
                producer = await self._connected_producer()
                await write(producer, records, found, sent)
        except (KafkaError, OSError, TimeoutError) as error:
            outage = self.unavailable("take events", error)
            await self._give_up(producer, outage)
        results = self.results(found, sent, outage)
        broken = next((one for one in results if isinstance(one, KafkaUnavailableError)), None)
        if outage is None and broken is not None:
            await self._give_up(producer, broken)  # one whose order was lost takes nothing more
        return results

    def results(
        self, found: Results, sent: Sequence[Sent], outage: KafkaUnavailableError | None
    ) -> list[BaseException | int]:
        """What came of records that were written, or why not."""
        for one in sent:
            result = self._result(one.future)
            for at, index in enumerate(one.indices):
                found[index] = result + at if isinstance(result, int) else result
        missing = outage or self.unavailable("take events", TimeoutError())
        return [missing if one is None else one for one in found]

    def _result(self, future: asyncio.Future[Any]) -> BaseException | int:
        if not future.done() or future.cancelled():
            future.cancel()
            return self.unavailable("take events", TimeoutError())
        error = future.exception()
        if error is None:
            return int(future.result().offset)
        if is_refusal(error) or is_too_large(error):
            return error
        return self.unavailable("take events", error)

    async def ask[T](self, what: str, question: Callable[[AIOKafkaAdminClient], Awaitable[T]]) -> T:
        """What an administrator answers.

        Raises:
            KafkaUnavailableError: there was no answer in time.
        """
        try:
            async with asyncio.timeout(self.settings.timeout):
                admin = await self._connected_admin()
                return await question(admin)
        except (KafkaError, OSError, TimeoutError) as error:
            broken, self._admin = self._admin, None
            await _closed(broken)
            raise self.unavailable(what, error) from error

    async def is_healthy(self) -> bool:
        """Whether Kafka answers; waits no longer than the time limit."""
        try:
            return bool(await self.ask("answer", lambda admin: admin.describe_cluster()))
        except KafkaUnavailableError:
            return False

    async def close(self) -> None:
        """Let what is being written arrive, and close the connections; they are opened anew."""
        producer, self._producer = self._producer, None
        admin, self._admin = self._admin, None
        if producer is not None:
            try:
                async with asyncio.timeout(self.settings.timeout):
                    await producer.flush()
            except TimeoutError:
                logger.warning("what was being written did not arrive within the time limit")
            await self._give_up(producer, KafkaConnectionError("closed"))
        await _closed(admin)

    async def _connected_producer(self) -> AIOKafkaProducer:
        async with self._connecting:
            if self._producer is None:
                producer = self.new_producer(enable_idempotence=self.settings.idempotent)
                await _started(producer)
                self._producer = producer
            return self._producer

    def new_producer(self, **options: Any) -> AIOKafkaProducer:
        """One that is not connected yet."""
        return AIOKafkaProducer(
            **self._options,
            acks="all",
            compression_type=self._compression,
            max_request_size=self._max_bytes,
            max_batch_size=min(self._max_bytes, _MOST_IN_BATCH),
            linger_ms=_LINGER_MS,
            **options,
        )

    async def _connected_admin(self) -> AIOKafkaAdminClient:
        async with self._connecting:
            if self._admin is None:
                admin = AIOKafkaAdminClient(**self._options)
                await _started(admin)
                self._admin = admin
            return self._admin

    async def _give_up(self, producer: AIOKafkaProducer | None, error: BaseException) -> None:
        if producer is None:
            return
        if producer is self._producer:
            self._producer = None
        await self.end(producer, error)

    async def end(self, producer: AIOKafkaProducer, error: BaseException) -> None:
        """End a producer with what it holds: an idempotent one would try for ever."""
        # There is no public way.
        sender = producer._sender.sender_task  # noqa: SLF001  # likewise
        if sender is not None:
            sender.cancel()
        held = producer._message_accumulator  # noqa: SLF001  # likewise
        batches = [one for some in held._batches.values() for one in some]  # noqa: SLF001  # likewise
        held._pending_batches.update(batches)  # noqa: SLF001  # else it stumbles over one sent twice
        held.fail_all(error)
        manager = producer._txn_manager  # noqa: SLF001  # likewise
        waiting = [one._drain_waiter for one in batches]  # noqa: SLF001  # likewise
        if manager is not None and manager._transaction_waiter is not None:  # noqa: SLF001  # likewise
            waiting.append(manager._transaction_waiter)  # noqa: SLF001  # likewise
        # In a task of its own: waiting for a sender that was cancelled raises that here.
        stopping = asyncio.create_task(producer.stop())
        await asyncio.wait([stopping], timeout=1)
        stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)
        for ended in (sender, *waiting):
            if ended is not None and ended.done() and not ended.cancelled():
                ended.exception()  # nobody else looks at it


async def _started(client: Any) -> None:
    try:
        await client.start()
    except BaseException:
        await _closed(client)
        raise


async def _closed(client: Any) -> None:
    if client is not None:
        with contextlib.suppress(Exception):
            await (client.close() if hasattr(client, "close") else client.stop())
