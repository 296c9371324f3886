# ruff: noqa: S101 - these are tests; their names say what they show
"""What services show about rows that refer to others."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from varco_domain.auth import AbstractAuthorizer, Action, AuthContext, ResourceGrant
from varco_domain.auth.helpers import AnyOf, GrantBasedAuthorizer, OwnershipAuthorizer
from varco_domain.dto import generate_dtos
from varco_domain.exception import ReferenceViolationError, StillReferencedError
from varco_domain.providers import RepositoryProvider
from varco_domain.service import AsyncService, EntityChange, tenant_context
from varco_domain.testing._base import ContractBase, raises
from varco_domain.testing._models import File, Folder, Link
from varco_domain.testing._services import (
    FileService,
    FolderService,
    HoldService,
    LinkService,
    RowByRow,
    SheetService,
)
from varco_domain.uow import AsyncUnitOfWork

ROOT = AuthContext("root", grants=(ResourceGrant("*", frozenset(Action)),))
ANN = AuthContext("ann", grants=(ResourceGrant("contract_files", frozenset(Action)),))

type Service = AsyncService[Any, int, Any, Any, Any]


async def make(service: Service, ctx: AuthContext = ROOT, **values: Any) -> Any:
    """Create an entity of a service's model."""
    dto: Any = generate_dtos(_model(service)).create
    return await service.create(dto.model_validate(values), ctx)


async def change(service: Service, pk: int, ctx: AuthContext, **values: Any) -> Any:
    """Change one."""
    dto: Any = generate_dtos(_model(service)).update
    return await service.update(pk, dto.model_validate(values), ctx)


def _model(service: Service) -> type:
    assert service.types is not None
    return service.types.entity_cls


class ReferenceContract(ContractBase):
    """References go to rows that the caller sees, and a deletion mark does what they say."""

    async def test_what_the_caller_may_not_refer_to_looks_missing(self) -> None:
        policy = AnyOf(GrantBasedAuthorizer(), OwnershipAuthorizer())
        policies: list[AbstractAuthorizer] = [policy, RowByRow(policy)]
        for each in policies:
            async with self.provider() as provider:
                folders, files = FolderService(provider, each), FileService(provider, each)
                with tenant_context("theirs"):
                    foreign = await make(folders, name="theirs", owner_id="ann")
                with tenant_context("ours"):
                    own = await make(folders, name="own", owner_id="ann")
                    other = await make(folders, name="other", owner_id="ann")
                    hidden = await make(folders, name="hidden", owner_id="bob")
                    gone = await make(folders, name="gone", owner_id="ann")
                    await folders.delete(gone.pk, ROOT)
                    file = await make(files, ANN, folder=own.pk)
                    texts: set[str] = set()
                    for pk in (foreign.pk, hidden.pk, gone.pk, 10**6):
                        for call in self._references(files, file.pk, own.pk, pk):
                            try:
                                await call()
                            except ReferenceViolationError as error:
                                texts.add(str(error))
                            else:
                                raise AssertionError(f"{pk} was taken")
                    assert texts == {"folder of File refers to nothing"}
                    assert (await change(files, file.pk, ANN, folder=other.pk)).folder == other.pk
                    dto: Any = generate_dtos(File).create
                    some = [dto.model_validate({"folder": pk}) for pk in (own.pk, other.pk) * 2]
                    assert len(await files.create_many(some, ANN)) == len(some)
                    # What it refers to already is no question of the caller's.
                    await change(folders, other.pk, ROOT, owner_id="bob")
                    assert (await change(files, file.pk, ANN, note="n")).note == "n"

    def _references(
        self, files: FileService, file: int, own: int, pk: int
    ) -> Sequence[Callable[[], Awaitable[Any]]]:
        dtos: Any = generate_dtos(File)
        new = [dtos.create.model_validate({"folder": each}) for each in (own, pk)]
        moved = dtos.update.model_validate({"folder": pk})
        return (
            lambda: files.create(new[1], ANN),
            lambda: files.create_many(new, ANN),
            lambda: files.update(file, moved, ANN),
            lambda: files.update_many([(file, moved)], ANN),
        )

    async def test_rows_of_one_call_may_refer_to_each_other(self) -> None:
        class Keyed(FolderService):
            def _prepare_new(self, entity: Folder, ctx: AuthContext) -> Folder:
                entity = super()._prepare_new(entity, ctx)
                entity.pk = int(entity.name)
                return entity

        async with self.provider() as provider:
            folders = Keyed(provider, GrantBasedAuthorizer())
            dto: Any = generate_dtos(Folder).create
            with tenant_context("ours"):
                made: list[Any] = await folders.create_many(
                    [
                        dto.model_validate({"name": "71"}),
                        dto.model_validate({"name": "72", "inside": 71}),
                    ],
                    ROOT,
                )
                assert [(row.pk, row.inside) for row in made] == [(71, None), (72, 71)]
                everything = folders.with_deleted()
                await folders.delete(72, ROOT)
                dto = generate_dtos(Folder).update
                moves = [(72, dto()), (71, dto.model_validate({"inside": 72}))]
                with raises(ReferenceViolationError):
                    await everything.update_many(moves, ROOT)
                dto = generate_dtos(Folder).create
                with raises(ReferenceViolationError):
                    await folders.create_many(
                        [dto.model_validate({"name": "73", "inside": 1})], ROOT
                    )

    async def test_marked_children_come_back_with_their_parent(self) -> None:
        async with self.provider() as provider:
            folders, files, sheets = self._services(provider)
            # What was deleted before its parent stays deleted, be it at the same moment.
            now = datetime.now(UTC)
            for service in (folders, files, sheets):
                vars(service).update(_now=lambda: now)
            with tenant_context("theirs"):
                theirs = await make(files, folder=(await make(folders, name="x")).pk)
            with tenant_context("ours"):
                top = await make(folders, name="top")
                beside = await make(folders, name="beside")
                inner = await make(folders, name="inner", inside=top.pk)
                file = await make(files, folder=inner.pk)
                sheet = await make(sheets, file=file.pk)
                alone = await make(files, folder=inner.pk)
                kept = await make(files, folder=beside.pk)
                await files.delete(alone.pk, ROOT)
                await folders.delete(top.pk, ROOT)
                assert await self._live(folders, files, sheets) == [[beside.pk], [kept.pk], []]
                with raises(ReferenceViolationError):
                    await files.restore(file.pk, ROOT)
                await folders.restore(top.pk, ROOT)
                live = [[top.pk, beside.pk, inner.pk], [file.pk, kept.pk], [sheet.pk]]
                assert await self._live(folders, files, sheets) == live
                # Many at once are marked at once.
                await folders.delete_many([top.pk, inner.pk], ROOT)
                assert await self._live(folders, files, sheets) == [[beside.pk], [kept.pk], []]
                await folders.restore(top.pk, ROOT)
                assert await self._live(folders, files, sheets) == live
            with tenant_context("theirs"):
                assert await files.exists(theirs.pk, ROOT)

    def _services(
        self, provider: RepositoryProvider
    ) -> tuple[FolderService, FileService, SheetService]:
        grants = GrantBasedAuthorizer()
        return (
            FolderService(provider, grants),
            FileService(provider, grants),
            SheetService(provider, grants),
        )

    async def _live(self, *services: Service) -> list[list[int]]:
        return [[row.pk for row in await each.list(ctx=ROOT)] for each in services]

    async def test_a_mark_sets_null_or_waits_for_what_refers(self) -> None:
        async with self.provider() as provider:
            grants = GrantBasedAuthorizer()
            folders, files, sheets = self._services(provider)
            links, holds = LinkService(provider, grants), HoldService(provider, grants)
            with tenant_context("ours"):
                folder = await make(folders, name="a")
                file = await make(files, folder=folder.pk)
                link = await make(links, folder=folder.pk, kept=file.pk)
                hold = await make(holds, folder=folder.pk)
                with raises(StillReferencedError):
                    await folders.delete(folder.pk, ROOT)
                with raises(StillReferencedError):
                    await folders.delete_many([folder.pk], ROOT)
                assert await self._live(folders, files, sheets) == [[folder.pk], [file.pk], []]
                found: Any = await links.get(link.pk, ROOT)
                assert found.folder == folder.pk
                await holds.delete(hold.pk, ROOT)
                await folders.delete(folder.pk, ROOT)
                found = await links.get(link.pk, ROOT)
                assert (found.folder, found.kept) == (None, file.pk)
                await folders.restore(folder.pk, ROOT)
                found = await links.get(link.pk, ROOT)
                assert found.folder is None

    async def test_services_hear_of_what_goes_with_rows_of_others(self) -> None:
        heard: list[tuple[str, str, Any, Any, Any]] = []

        async def observer(ctx: AuthContext, changes: Sequence[EntityChange]) -> None:
            assert ctx is ROOT
            for c in changes:
                field = "folder" if c.entity_cls is Link else "deleted_at"
                before, after = (getattr(row, field, None) for row in (c.before, c.after))
                heard.append((c.entity_cls.__name__, c.kind, c.pk, before, after))

        def take() -> list[tuple[str, str, Any, Any, Any]]:
            taken = sorted(heard, key=lambda each: each[:3])
            heard.clear()
            return taken

        async with self.provider() as provider:
            folders, files, sheets = self._services(provider)
            links = LinkService(provider, GrantBasedAuthorizer())
            for service in (folders, files, sheets, links):
                service.observe(observer)
            with tenant_context("ours"):
                top = (await make(folders, name="top")).pk
                inner = (await make(folders, name="inner", inside=top)).pk
                file = (await make(files, folder=inner)).pk
                sheet = (await make(sheets, file=file)).pk
                link = (await make(links, folder=top)).pk
                take()
                await folders.delete(top, ROOT)
                async with provider.make_uow() as uow:
                    found: Any = await uow.repository(Folder).find_by_id(top)
                mark = found.deleted_at
                pks = [("File", file), ("Folder", top), ("Folder", inner), ("Sheet", sheet)]
                gone = [(name, "deleted", pk, None, mark) for name, pk in sorted(pks)]
                cleared = ("Link", "updated", link, top, None)
                assert take() == sorted([*gone, cleared], key=lambda each: each[:3])
                await folders.restore(top, ROOT)
                back = [(name, "restored", pk, mark, None) for name, pk in sorted(pks)]
                assert take() == back
                # What the store removes of itself is told alike, marked rows too.
                await files.delete(file, ROOT)
                take()
                await folders.purge(top, ROOT)
                assert [each[:3] for each in take()] == [
                    (name, "purged", pk) for name, pk in sorted(pks)
                ]

    async def test_counts_go_no_further_than_asked(self) -> None:
        async with self.provider() as provider:
            folders, _, _ = self._services(provider)
            with tenant_context("ours"):
                for name in "abc":
                    await make(folders, name=name)
                totals = [
                    (await folders.paged_list(ctx=ROOT, total=total)).total_count
                    for total in (False, True, 2, 3, 9)
                ]
                assert totals == [None, 3, 2, 3, 3]

                async def counts(uow: AsyncUnitOfWork) -> list[int]:
                    repository = uow.repository(Folder)
                    return [await repository.count(up_to=up_to) for up_to in (None, 0, 2, 9)]

                async with provider.make_uow() as uow:
                    assert await counts(uow) == [3, 0, 2, 3]
