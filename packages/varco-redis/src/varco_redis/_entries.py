"""An entry of the cache as bytes, and back; the scripts read the same header."""

from __future__ import annotations

import os
import struct
import zlib
from typing import TYPE_CHECKING, Any

from varco_cache import CacheConfigError
from varco_events import JsonSerializer, Serializer
from varco_redis._cache_scripts import MOST_TAGS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from varco_redis._cache_settings import RedisCacheSettings

_PLAIN, _ZLIB = 0, 1
_TAIL = struct.Struct(">HBI")
_EXPIRES = struct.Struct(">d")
_LENGTH = struct.Struct(">H")
_MOST_TAG_BYTES = 65_535
# Where the time at which an entry expires and the length of its tags stand, and where the tags do.
_AT_EXPIRES, _AT_TAIL, _AT_TAGS = 20, 28, 35


class Entries:
    """Writes and reads entries; what it reads is untrusted, and never run."""

    def __init__(self, settings: RedisCacheSettings, serializer: Serializer[Any] | None) -> None:
        serializer = serializer or JsonSerializer()
        self._serialize = serializer.serialize
        self._deserialize = serializer.deserialize
        self._compress_above = settings.compress_above
        self._most = settings.max_value_bytes

    def pack(self, value: Any, tags: bytes) -> tuple[bytes, bytes]:
        """What stands before and after the numbers that Redis fills in."""
        data = self._serialize(value)
        codec, least = _PLAIN, self._compress_above
        if least is not None and len(data) > least:
            smaller = zlib.compress(data, 1)
            if len(smaller) < len(data):
                codec, data = _ZLIB, smaller
        return b"vrc1" + os.urandom(8), _TAIL.pack(len(tags), codec, len(data)) + tags + data

    def value(self, data: Any, type_hint: Any) -> Any:
        """The value of what a script answered.

        Raises:
            Exception: There is none, whatever a serializer raises then.
        """
        if data.__class__ is not bytes:
            raise ValueError("it was not written by a RedisCache")
        tags, codec, length = _TAIL.unpack_from(data, _AT_TAIL)
        if length > self._most:
            raise ValueError(f"it takes more than {self._most} bytes")
        payload = data[_AT_TAGS + tags :]
        return self._deserialize(self._inflated(codec, payload) if codec else payload, type_hint)

    def left(self, data: bytes, now: int) -> float:
        """Milliseconds until the entry expires; 0 for never."""
        expires: float = _EXPIRES.unpack_from(data, _AT_EXPIRES)[0]
        return max(1.0, expires - now) if expires else 0.0

    def tags(self, data: bytes) -> frozenset[str]:
        """The tags of the entry."""
        end, _, _ = _TAIL.unpack_from(data, _AT_TAIL)
        tags: list[str] = []
        at, end = _AT_TAGS, _AT_TAGS + end
        while at < end:
            (length,) = _LENGTH.unpack_from(data, at)
            at += 2 + length
            tags.append(data[at - length : at].decode())
        return frozenset(tags)

    def _inflated(self, codec: int, payload: bytes) -> bytes:
        if codec != _ZLIB:
            raise ValueError(f"codec {codec} is not known")
        reader = zlib.decompressobj()
        inflated = reader.decompress(payload, self._most)
        if not reader.eof:
            raise ValueError(f"it is cut off, or takes more than {self._most} bytes")
        return inflated


def checked_tags(tags: Iterable[str]) -> frozenset[str]:
    """The tags.

    Raises:
        CacheConfigError: They are no collection of strings.
    """
    if isinstance(tags, str):
        raise CacheConfigError("tags", tags, f"give a collection of strings, such as {{{tags!r}}}")
    held = frozenset(tags)
    for tag in held:
        if not isinstance(tag, str):  # pyright: ignore[reportUnnecessaryIsInstance] # untyped callers
            raise CacheConfigError("tags", tag, "every tag must be a string")
    return held


def packed_tags(tags: Iterable[str]) -> bytes:
    """The tags as bytes."""
    parts: list[bytes] = []
    for tag in sorted(checked_tags(tags)):
        encoded = tag.encode()
        if len(encoded) > _MOST_TAG_BYTES:
            raise CacheConfigError("tags", tag[:50], "a tag of less than 64 KiB")
        parts += (_LENGTH.pack(len(encoded)), encoded)
    blob, count = b"".join(parts), len(parts) // 2
    if len(blob) > _MOST_TAG_BYTES or count > MOST_TAGS:
        raise CacheConfigError("tags", f"{count} tags", f"{MOST_TAGS} of less than 64 KiB in all")
    return blob
