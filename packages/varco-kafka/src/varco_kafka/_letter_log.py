"""Dead letters as a compacted topic, read into memory."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from varco_events import DeadLetterEntry, describe
from varco_kafka._received import read, written

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aiokafka import ConsumerRecord

    from varco_events import EventSerializer
    from varco_kafka._batches import Record
    from varco_kafka._link import Link
    from varco_kafka._received import Headers

logger = logging.getLogger("varco_kafka.dlq")

_LETTER = "varco-dead-letter"
_ENTRY, _LEASE = "entry:", "lease:"


@dataclass(slots=True)
class Kept:
    """A dead letter, its place, and who has it in hand."""

    letter: DeadLetterEntry
    order: int
    at: datetime
    holder: str = ""
    until: float = 0.0
    """By the time of Kafka."""


class LetterLog:
    """What all processes agree on, because they read the same records in the same order.

    A lease is a record: it counts when the letter was free at the moment that Kafka wrote down, so
    of two that ask for one letter the first has it, whatever the clocks of their machines say. One
    event loop owns it; the lock lets one task read on at a time.
    """

    def __init__(self, link: Link, topic: str, serializer: EventSerializer | None) -> None:
        self.kept: dict[UUID, Kept] = {}
        """In their order."""
        self.last = 0
        """The place after that of the letter which came last."""
        self._link = link
        self._topic = topic
        self._part = TopicPartition(topic, 0)
        self._serializer = serializer
        self._consumer: AIOKafkaConsumer | None = None
        self._position = 0
        self._reading = asyncio.Lock()

    def is_free(self, entry_id: UUID) -> bool:
        """Whether nobody seems to have it in hand, by the clock of this machine."""
        kept = self.kept.get(entry_id)
        return kept is not None and kept.until <= time.time()

    async def push(self, letter: DeadLetterEntry) -> None:
        """Write a letter."""
        key, payload, headers = written(letter.envelope)
        said = {
            "channel": letter.channel,
            "handler": letter.handler_name,
            "group": letter.group,
            "origin": letter.origin,
            "error_type": letter.error_type,
            "error_message": letter.error_message,
            "attempts": letter.attempts,
            "first": letter.first_failed_at.isoformat(),
            "last": letter.last_failed_at.isoformat(),
            "event_channel": letter.envelope.channel,
            "key": None if key is None else key.decode(errors="surrogatepass"),
        }
        headers.append((_LETTER, json.dumps(said).encode()))
        await self._write([(f"{_ENTRY}{letter.entry_id}", payload, headers)])

    async def remove(self, entry_ids: Iterable[UUID]) -> None:
        """Write that letters are gone."""
        await self._write(
            [(f"{kind}{one}", None, []) for one in entry_ids for kind in (_ENTRY, _LEASE)]
        )

    async def free(self, entry_ids: Iterable[UUID]) -> None:
        """Write that nobody has letters in hand."""
        await self._write([(f"{_LEASE}{one}", None, []) for one in entry_ids])

    async def give_back(self, held: Iterable[tuple[UUID, str]]) -> None:
        """Write that holders have letters no more; of one that another has, it says nothing."""
        await self._write(
            [
                (f"{_LEASE}{one}", json.dumps({"holder": holder, "seconds": 0}).encode(), [])
                for one, holder in held
            ]
        )

    async def lease(self, entry_ids: Sequence[UUID], holder: str, seconds: float) -> list[UUID]:
        """Ask for letters; those that `holder` has now."""
        value = json.dumps({"holder": holder, "seconds": seconds}).encode()
        await self._write([(f"{_LEASE}{one}", value, []) for one in entry_ids])
        await self.refresh()
        return [one for one in entry_ids if one in self.kept and self.kept[one].holder == holder]

    async def refresh(self) -> None:
        """Read on to what was there when this was called.

        Raises:
            KafkaUnavailableError: Kafka does not answer in time.
        """
        async with self._reading:
            try:
                async with asyncio.timeout(self._link.settings.timeout):
                    consumer = await self._connected()
                    end = (await consumer.end_offsets([self._part]))[self._part]
                    while self._position < end:
                        found = await consumer.getmany(timeout_ms=100)
                        for record in found.get(self._part, ()):
                            self._position = record.offset + 1
                            self._apply(record)
            except (KafkaError, OSError, TimeoutError) as error:
                await self._close()
                raise self._link.unavailable("show dead letters", error) from error

    async def close(self) -> None:
        """Close the connection; it is opened again when needed, and reads on."""
        async with self._reading:
            await self._close()

    async def _close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with contextlib.suppress(Exception):
                await consumer.stop()

    async def _connected(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            options = self._link.client_options()
            consumer = AIOKafkaConsumer(**options, auto_offset_reset="earliest")
            self._consumer = consumer
            await consumer.start()
            consumer.assign([self._part])
            consumer.seek(self._part, self._position)
        return self._consumer

    async def _write(self, entries: Sequence[tuple[str, bytes | None, Headers]]) -> None:
        records: list[Record] = [
            (self._topic, key.encode(), value, headers) for key, value, headers in entries
        ]
        for result in await self._link.send(records):
            if isinstance(result, BaseException):
                raise result

    def _apply(self, record: ConsumerRecord[bytes, bytes]) -> None:
        name = (record.key or b"").decode(errors="replace")
        moment = record.timestamp / 1000
        try:
            if name.startswith(_ENTRY):
                self._apply_entry(UUID(name.removeprefix(_ENTRY)), record)
            elif name.startswith(_LEASE):
                self._apply_lease(UUID(name.removeprefix(_LEASE)), record.value, moment)
        except Exception as error:  # noqa: BLE001  # whatever bytes of others lead to
            logger.error(  # noqa: TRY400  # the bytes are kept, the stack tells nothing
                "record %d of %r is no dead letter and is passed over: %s",
                record.offset,
                self._topic,
                describe(error),
            )

    def _apply_entry(self, entry_id: UUID, record: ConsumerRecord[bytes, bytes]) -> None:
        if record.value is None:
            self.kept.pop(entry_id, None)
        elif entry_id not in self.kept:
            letter = self._read(entry_id, record)
            at = datetime.fromtimestamp(record.timestamp / 1000, UTC)
            self.last = record.offset + 1
            self.kept[entry_id] = Kept(letter, record.offset + 1, at)

    def _apply_lease(self, entry_id: UUID, value: bytes | None, moment: float) -> None:
        kept = self.kept.get(entry_id)
        if kept is None:
            return
        if value is None:
            kept.holder, kept.until = "", 0.0
            return
        said: dict[str, Any] = json.loads(value)
        if kept.until <= moment or (kept.holder == said["holder"] and not said["seconds"]):
            kept.holder, kept.until = str(said["holder"]), moment + float(said["seconds"])

    def _read(self, entry_id: UUID, record: ConsumerRecord[bytes, bytes]) -> DeadLetterEntry:
        headers = dict(record.headers)
        said: dict[str, Any] = json.loads(headers.pop(_LETTER))
        text = said["key"]
        key = None if text is None else str(text).encode(errors="surrogatepass")
        envelope = read(list(headers.items()), key, record.value, str(said["event_channel"]))
        if self._serializer is not None:
            with contextlib.suppress(Exception):  # whatever the bytes lead to: it stays raw
                event = self._serializer.deserialize(envelope.payload)
                envelope = envelope.replace(event=event)
        return DeadLetterEntry(
            envelope=envelope,
            channel=str(said["channel"]),
            handler_name=str(said["handler"]),
            error_type=str(said["error_type"]),
            error_message=str(said["error_message"]),
            attempts=int(said["attempts"]),
            first_failed_at=datetime.fromisoformat(said["first"]),
            last_failed_at=datetime.fromisoformat(said["last"]),
            entry_id=entry_id,
            group=str(said["group"]),
            origin=str(said["origin"]),
        )
