"""Catalogue the packages of this environment and answer questions about them, through every slice.

    quickstart.py                                     a short tour, with the time of each step
    quickstart.py 'bytes > 1000000 AND license LIKE "%MIT%"' --sort -bytes --limit 10

The catalogue is kept in a database (a SQLite file by default). Each change of a package writes an
event into the outbox in the same transaction, and a relay brings it to a consumer that keeps the
totals by license, so these are right however and whenever the process ends.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import catalog
from pydantic import BaseModel, ValidationError

from varco_core.auth import Action, AuthContext, ResourceGrant
from varco_core.auth.helpers import GrantBasedAuthorizer
from varco_core.cache import InMemoryCache
from varco_core.dto import generate_dtos
from varco_core.event import Event, EventConsumer, InMemoryEventBus, listen
from varco_core.exception import ServiceAuthorizationError, StorageUnavailableError
from varco_core.jwt import JwtBuilder, JwtParser
from varco_core.meta import FieldHint
from varco_core.model import AuditedDomainModel, DomainModel
from varco_core.providers import IUoWProvider
from varco_core.query import QueryBuilder, QueryError, QueryParams, QueryParser, QuerySchema
from varco_core.service import AsyncService, EntityChange
from varco_core.service.outbox import OutboxEntry, OutboxRelay
from varco_core.uow import AsyncUnitOfWork
from varco_sa import Backend, bootstrap

COLUMNS = ("name", "version", "license", "requirements", "files", "bytes", "newest")
CHUNK = 50
CHANNEL = "packages"
LEASE = 3.0  # seconds for which a relay holds a batch; after a kill, the next run waits as long


class Package(AuditedDomainModel):
    """A package of the catalogue."""

    name: Annotated[str, FieldHint(unique=True, max_length=200)]
    version: Annotated[str, FieldHint(max_length=100)]
    summary: str = ""
    license: Annotated[str, FieldHint(index=True, max_length=200)]
    requirements: int
    files: int
    bytes: int
    newest: datetime | None = None


class LicenseTotal(DomainModel):
    """How many packages have a license, and how large they are together."""

    license: Annotated[str, FieldHint(unique=True, max_length=200)]
    packages: int = 0
    bytes: int = 0


class PackageChanged(Event):
    """A package was added (no old license) or its license or size is another now."""

    name: str
    old_license: str | None
    old_bytes: int
    license: str
    bytes: int


CreatePackage, _, UpdatePackage = generate_dtos(Package)


class PackageService(AsyncService[Package, int, Any, Any, Any]):
    """Reads and writes packages; tells the outbox of each change in the same transaction."""

    async def _after_write(
        self, uow: AsyncUnitOfWork, ctx: AuthContext, changes: Sequence[EntityChange]
    ) -> None:
        await super()._after_write(uow, ctx, changes)
        entries = [OutboxEntry.from_event(_told(one), channel=CHANNEL) for one in changes]
        await uow.outbox.save_many(entries)


def _told(change: EntityChange) -> PackageChanged:
    old, new = change.before, change.after
    assert isinstance(new, Package)  # nothing here deletes
    return PackageChanged(
        name=new.name,
        old_license=old.license if isinstance(old, Package) else None,
        old_bytes=old.bytes if isinstance(old, Package) else 0,
        license=new.license,
        bytes=new.bytes,
    )


class Totals(EventConsumer):
    """Keeps `LicenseTotal`, effectively once: what was counted is remembered with the totals."""

    def __init__(self, uow_provider: IUoWProvider) -> None:
        self._uow_provider = uow_provider

    @listen(PackageChanged, channel=CHANNEL)
    async def count(self, event: PackageChanged) -> None:
        async with self._uow_provider.make_uow() as uow:
            if not await uow.inbox.accept(event.event_id, "totals"):
                return  # delivered again after a crash
            if event.old_license is not None:
                await self._add(uow, event.old_license, -1, -event.old_bytes)
            await self._add(uow, event.license, 1, event.bytes)

    @staticmethod
    async def _add(uow: AsyncUnitOfWork, license_: str, packages: int, size: int) -> None:
        totals = uow.repository(LicenseTotal)
        where = QueryParams(QueryBuilder().eq("license", license_).build(), limit=1)
        total = next(iter(await totals.find_by_query(where)), LicenseTotal(license=license_))
        total.packages += packages
        total.bytes += size
        await totals.save(total)


class Catalogue:
    """The parts, put together."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.packages = PackageService(backend.uow_provider, GrantBasedAuthorizer())
        self.bus = InMemoryEventBus()
        Totals(backend.uow_provider).register_to(self.bus)
        # A real issuer shares a secret, or better a public key; this one lives as long as we do.
        self._secret = secrets.token_bytes(32)

    def relay(self) -> OutboxRelay:
        return OutboxRelay(
            outbox=self.backend.outbox, bus=self.bus, batch_size=20, lease=LEASE, poll_interval=0.2
        )

    async def drain(self) -> None:
        """Deliver what this run has written, and what a killed one had leased."""
        relay, outbox = self.relay(), self.backend.outbox
        patience = time.monotonic() + 2 * LEASE
        while await outbox.get_pending(limit=1):
            if await relay.run_once():
                patience = time.monotonic() + 2 * LEASE
            elif time.monotonic() > patience:
                print("some events could not be delivered and wait in the outbox", file=sys.stderr)
                return
            else:
                await outbox.wait_for_work(0.1)

    def login(self, user: str, *actions: Action) -> AuthContext:
        """Who calls: what a signed token says, once its signature is checked."""
        grants = (ResourceGrant("packages", frozenset(actions)),)
        ctx = AuthContext(user_id=user, grants=grants)
        token = JwtBuilder(secret=self._secret).with_auth_ctx(ctx).expires_in(600).build()
        verified = JwtParser(secret=self._secret).parse(token).auth_ctx
        assert verified is not None
        return verified

    async def load(self, rows: Sequence[Any], ctx: AuthContext) -> tuple[int, int]:
        """Create the packages that are new and update those that differ; how many of each."""
        known = {one.name: one async for one in self.packages.stream(QueryParams(), ctx)}
        created, updated = 0, 0
        for chunk in _chunks(progress(rows)):
            new = [row for row in chunk if row.name not in known]
            changed = [
                (known[row.name].pk, UpdatePackage(**row.model_dump(exclude={"name"})))
                for row in chunk
                if row.name in known and _differs(row, known[row.name])
            ]
            if new:
                created += len(await self.packages.create_many(new, ctx))
            if changed:
                updated += len(await self.packages.update_many(changed, ctx))
        return created, updated

    async def totals(self) -> list[LicenseTotal]:
        async with self.backend.uow_provider.make_uow() as uow:
            found = await uow.repository(LicenseTotal).find_all()
        return sorted((one for one in found if one.packages), key=lambda one: -one.bytes)


def _differs(row: Any, stored: Any) -> bool:
    return any(getattr(row, name) != getattr(stored, name) for name in catalog.COLUMNS)


def _chunks(rows: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(rows)
    while chunk := list(itertools.islice(iterator, CHUNK)):
        yield chunk


def progress(rows: Sequence[Any]) -> Iterator[Any]:
    """The rows, with a bar on a terminal, or a line that grows by every tenth otherwise."""
    total, live = len(rows), sys.stderr.isatty()

    def tell(text: str, end: str = "") -> None:
        print(text, end=end, file=sys.stderr, flush=True)

    tell("" if live else f"loading {total:,} packages:")
    for number, row in enumerate(rows, 1):
        yield row
        tenth = number * 10 // total
        if live:
            tell(f"\rloading [{'#' * (3 * tenth):<30}] {number:,}/{total:,}")
        elif tenth > (number - 1) * 10 // total:
            tell(f" {tenth * 10}%")
    tell("", end="\n")


def read_rows(source: Path | None) -> list[BaseModel]:
    """The input as create DTOs, whose limits are those of the model's fields.

    Raises:
        InputError: a row does not fit the model.
    """
    rows: dict[str, BaseModel] = {}
    for number, row in enumerate(catalog.from_file(source) if source else catalog.installed(), 1):
        try:
            rows[str(row["name"])] = CreatePackage(**row)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = f"{source or 'environment'}, row {number}, column {first['loc'][0]}"
            raise catalog.InputError(f"{where}: {first['msg']}, not {first['input']!r}") from error
    return list(rows.values())


def show(packages: Sequence[Any], columns: Sequence[str] = COLUMNS) -> None:
    """Print a table."""
    cells = [[_cell(getattr(one, column)) for column in columns] for one in packages]
    widths = [max(len(row[i]) for row in [list(columns), *cells]) for i in range(len(columns))]
    right = [name in {"requirements", "files", "bytes", "packages"} for name in columns]
    for row in [list(columns), ["-" * width for width in widths], *cells]:
        aligned = [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, right, strict=True)
        ]
        print("  ".join(aligned).rstrip())


def chart(totals: Sequence[LicenseTotal]) -> None:
    """Draw totals as bars as long as they have bytes; in colour on a terminal that has it."""
    if not totals:
        return
    coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    drawn = "█▏▎▍▌▋▊▉" if "utf" in (sys.stdout.encoding or "").lower() else "#"
    names = [_cell(one.license) for one in totals]
    sizes = [_cell(one.bytes) for one in totals]
    left, right = max(map(len, names)), max(map(len, sizes))
    room = max(shutil.get_terminal_size().columns - left - right - 20, 10)
    most = max(one.bytes for one in totals) or 1
    for name, size, one in zip(names, sizes, totals, strict=True):
        whole, part = divmod(room * len(drawn) * one.bytes // most, len(drawn))
        bar = f"{drawn[0] * whole + (drawn[part] if part else ''):<{room}}"
        if coloured:
            bar = f"\x1b[36m{bar}\x1b[0m"
        print(f"{name:<{left}}  {bar}  {size:>{right}}  {one.packages:>4} packages")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, int):
        return f"{value:,}"
    text = str(value)
    return text if len(text) <= 40 else text[:39] + "…"


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print what the block does and how long it took."""
    print(f"\n{title}")
    start = time.perf_counter()
    yield
    print(f"  ({(time.perf_counter() - start) * 1000:.1f} ms)")


def timed(call: Callable[[], object]) -> float:
    """How long a call takes, in milliseconds."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000


async def answer(shop: Catalogue, params: QueryParams, reader: AuthContext) -> None:
    """Print the packages that a filter selects, and the totals of all that it selects."""
    page = await shop.packages.list(params, reader)
    show(page)
    every = QueryParams(params.node)
    sizes = [one.bytes async for one in shop.packages.stream(every, reader)]
    shown = f"; {len(page)} shown" if len(page) < len(sizes) else ""
    print(f"\n{len(sizes):,} packages, {sum(sizes):,} bytes{shown}")


async def tour(shop: Catalogue, reader: AuthContext) -> None:
    """Show what each slice does, with the time it takes."""
    parser = QueryParser(QuerySchema.of(Package))
    with step("The five largest, through the service (READ is granted to the reader):"):
        await answer(shop, parser.parse(sort="-bytes", limit=5), reader)
    text = "requirements = 0 AND NOT license CONTAINS 'MIT'"
    with step(f"A filter from a string, as from a URL: {text}"):
        took = [
            timed(lambda: parser.parse_node(text)),
            timed(lambda: parser.parse_node(text + " ")),
        ]
        await answer(shop, parser.parse(text, sort="name", limit=5), reader)
        print(
            "  (parsed in {:.1f} ms, the first of this process; a next one takes {:.2f})".format(
                *took
            )
        )
    with step("Totals by license, counted by the consumer of the outbox's events:"):
        chart((await shop.totals())[:8])
    largest = (await shop.packages.list(parser.parse(sort="-bytes", limit=1), reader))[0]
    async with InMemoryCache() as cache:
        for turn in ("first from the database", "then from the cache"):
            with step(f"Reading {largest.name}, {turn}:"):
                found = await cache.get_or_set(
                    f"package:{largest.pk}", lambda: shop.packages.get(largest.pk, reader), ttl=60
                )
                print(f"  {found.name} {found.version}: {found.summary}")
    with step("The reader tries to write:"):
        try:
            change = UpdatePackage.model_validate({"bytes": 0})
            await shop.packages.update(largest.pk, change, reader)
        except ServiceAuthorizationError as denied:
            print(f"  refused: {denied}")


async def main(options: argparse.Namespace) -> None:
    parser = QueryParser(QuerySchema.of(Package))
    asked = options.filter is not None or options.sort is not None
    params = parser.parse(options.filter, sort=options.sort, limit=options.limit)
    start = time.perf_counter()
    rows = read_rows(options.input)
    async with bootstrap(options.database, Package, LicenseTotal) as backend:
        shop = Catalogue(backend)
        librarian = shop.login("librarian", Action.CREATE, Action.READ, Action.UPDATE)
        reader = shop.login("reader", Action.READ)
        async with shop.relay():
            created, updated = await shop.load(rows, librarian)
        await shop.drain()
        print(
            f"{len(rows)} packages read, {created} new, {updated} changed, in {backend.engine.url}"
            f" ({time.perf_counter() - start:.1f} s)\n",
            file=sys.stderr,
        )
        await (answer(shop, params, reader) if asked else tour(shop, reader))
        if options.totals:
            print()
            show(await shop.totals(), ("license", "packages", "bytes"))


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("filter", nargs="?", help="which packages, e.g. 'bytes > 1000000'")
    parser.add_argument("--sort", help="fields, with a minus to descend: -bytes,name")
    parser.add_argument("--limit", type=int, default=20, help="how many to print (default: 20)")
    parser.add_argument("--totals", action="store_true", help="print the totals by license too")
    columns = ", ".join(catalog.COLUMNS)
    parser.add_argument("--input", type=Path, help=f"a .csv or .jsonl file with {columns}")
    parser.add_argument(
        "--database",
        default="sqlite+aiosqlite:///catalog.sqlite",
        help="where the catalogue is kept (default: %(default)s)",
    )
    # argparse takes the minus of `--sort -bytes` for the beginning of an option.
    rest = iter(words)
    return parser.parse_args([f"--sort={next(rest, '')}" if w == "--sort" else w for w in rest])


def run(words: Sequence[str]) -> int:
    """Do what the words of the command line say; the exit code."""
    try:
        asyncio.run(main(parse(words)))
    except (QueryError, catalog.InputError, StorageUnavailableError) as failure:
        print(f"quickstart: {failure}", file=sys.stderr)
        return 1 if isinstance(failure, StorageUnavailableError) else 2
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
