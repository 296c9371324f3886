"""Keys from PEM files, watched by their modification."""

from __future__ import annotations

import logging
import time
from errno import ELOOP
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Final

import anyio.to_thread

from varco_auth_jwt._errors import InvalidKeyError, KeyLoadError
from varco_auth_jwt._jwk_builder import JwkBuilder
from varco_auth_jwt._jwk_set import JsonWebKeySet
from varco_auth_jwt._keycache import KeyCache

if TYPE_CHECKING:
    from varco_auth_jwt._claims import Clock
    from varco_auth_jwt._jwk import JsonWebKey
    from varco_auth_jwt._states import FetchState

type _Stamp = tuple[tuple[str, *tuple[int, ...]], ...]

_MAX_FILE: Final = 64 * 1024
_MAX_FILES: Final = 100
# How long the last good keys outlive a file that cannot be read, such as one half written.
_MAX_STALE: Final = 60.0
# The coarsest clock that file systems have, in nanoseconds.
_STEP: Final = 2_000_000_000
_log = logging.getLogger("varco_auth_jwt")


class _PemSource:
    """What a file and a folder have in common: read in a thread, and only if modified."""

    def __init__(
        self, path: Path, *, algorithm: str, use: str, check_interval: float, clock: Clock
    ) -> None:
        self._path = path
        self._algorithm = algorithm
        self._use = use
        # Belong to whoever runs `_look`.
        self._read: tuple[_Stamp, JsonWebKeySet] | None = None
        self._settled = False
        self._cache = KeyCache(
            self._fetch,
            name=str(path),
            ttl=check_interval,
            cooldown=check_interval,
            max_stale=_MAX_STALE,
            clock=clock,
        )

    @property
    def source_id(self) -> str:
        """The path."""
        return str(self._path)

    async def load(self) -> JsonWebKeySet:
        """The keys, read anew if the files were modified."""
        return await self._cache.load()

    async def refresh(self) -> JsonWebKeySet:
        """As `load`; looks at the files at most once per check interval."""
        return await self._cache.refresh()

    async def renew(self) -> None:
        """Look at the files ahead of the next token; a running registry calls it."""
        await self._cache.renew()

    def fetch_state(self) -> FetchState:
        """How they were fetched last, for whoever operates it."""
        return self._cache.state()

    async def _fetch(self) -> JsonWebKeySet:
        return await anyio.to_thread.run_sync(self._look)

    def _look(self) -> JsonWebKeySet:
        """Run in a thread; `KeyCache` calls it once at a time."""
        try:
            stamp = self._stamp()
            if self._read is None or self._read[0] != stamp or not self._settled:
                # Written within one step of the file system's clock, two contents look the same.
                newest = max((moment for _, *stats in stamp for moment in stats[:2]), default=0)
                self._settled = time.time_ns() - newest > _STEP
                self._read = (stamp, self._keys([Path(name) for name, *_ in stamp]))
        except OSError as error:
            raise KeyLoadError(f"{self._path} cannot be read: {error.strerror}") from None
        return self._read[1]

    def _paths(self) -> list[Path]:
        raise NotImplementedError

    def _keys(self, paths: list[Path]) -> JsonWebKeySet:
        raise NotImplementedError

    def _stamp(self) -> _Stamp:
        stamps: list[tuple[str, *tuple[int, ...]]] = []
        for path in self._paths():
            try:
                stat = path.stat()
            except OSError as error:
                if isinstance(error, FileNotFoundError) or error.errno == ELOOP:
                    continue
                raise
            # A pipe would keep its reader waiting. The change time tells of new permissions too.
            if S_ISREG(stat.st_mode):
                times = stat.st_mtime_ns, stat.st_ctime_ns
                stamps.append((str(path), *times, stat.st_size, stat.st_ino))
        return tuple(stamps)

    def _key(self, path: Path, kid: str) -> JsonWebKey:
        with path.open("rb") as file:
            pem = file.read(_MAX_FILE + 1)
        if len(pem) > _MAX_FILE:
            raise InvalidKeyError(f"{path} is longer than {_MAX_FILE} bytes")
        return JwkBuilder.from_pem(pem, kid=kid, use=self._use, alg=self._algorithm)


class PemFileSource(_PemSource):
    """The key in one PEM file: public, or private, of which the public half is taken.

    A file that is gone takes its key with it; one that cannot be read leaves the last key for a
    minute. The file is looked at once per `check_interval` seconds.
    """

    def __init__(
        self,
        path: Path | str,
        kid: str,
        algorithm: str,
        use: str = "sig",
        *,
        check_interval: float = 1.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self._kid = kid
        super().__init__(
            Path(path), algorithm=algorithm, use=use, check_interval=check_interval, clock=clock
        )

    def _paths(self) -> list[Path]:
        return [self._path]

    def _keys(self, paths: list[Path]) -> JsonWebKeySet:
        try:
            return JsonWebKeySet(tuple(self._key(path, self._kid) for path in paths))
        except InvalidKeyError as error:
            raise KeyLoadError(f"{self._path} holds no key: {error}") from error


class PemFolderSource(_PemSource):
    """The keys in the `*.pem` files of a folder, each named as its file without `.pem`.

    A file that is gone takes its key with it; one that holds no key is logged and left out. The
    folder is looked at once per `check_interval` seconds.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        algorithm: str,
        use: str = "sig",
        check_interval: float = 1.0,
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(
            Path(path), algorithm=algorithm, use=use, check_interval=check_interval, clock=clock
        )

    def _paths(self) -> list[Path]:
        paths = sorted(
            path
            for path in self._path.iterdir()
            if path.suffix == ".pem" and not path.name.startswith(".")
        )
        if len(paths) > _MAX_FILES:
            raise KeyLoadError(f"{self._path} holds more than {_MAX_FILES} PEM files")
        return paths

    def _keys(self, paths: list[Path]) -> JsonWebKeySet:
        keys: list[JsonWebKey] = []
        for path in paths:
            try:
                keys.append(self._key(path, path.stem))
            except (InvalidKeyError, OSError) as error:
                _log.warning("%s is left out: %s", path, error)
        return JsonWebKeySet(tuple(keys))
