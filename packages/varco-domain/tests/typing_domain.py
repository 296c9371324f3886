"""What type checkers see; checked by mypy and pyright."""

from collections.abc import AsyncGenerator
from typing import Annotated, assert_type
from uuid import UUID

from varco_domain import (
    AsyncRepository,
    AsyncService,
    AsyncUnitOfWork,
    AuditedDomainModel,
    AutoAssembler,
    CreateDTO,
    FieldHint,
    GrantBasedAuthorizer,
    InMemoryRepositoryProvider,
    PagedReadDTO,
    PKStrategy,
    PrimaryKey,
    ReadDTO,
    SoftDeleteService,
    TenantAwareService,
    TenantSoftDeleteVersionedDomainModel,
    UpdateDTO,
    domain_replace,
    generate_dtos,
    pk_field,
    unset,
)


class Post(AuditedDomainModel):
    pk: Annotated[int, PrimaryKey(PKStrategy.INT_AUTO)] = pk_field()
    title: Annotated[str, FieldHint(max_length=200)]
    published: bool = False


class Tag(TenantSoftDeleteVersionedDomainModel):
    pk: Annotated[str, PrimaryKey(PKStrategy.STR_ASSIGNED)] = pk_field(init=True)
    color: str | None = None


class PostRead(ReadDTO):
    title: str


class PostService(AsyncService[Post, int, CreateDTO, PostRead, UpdateDTO]):
    def _get_repo(self, uow: AsyncUnitOfWork) -> AsyncRepository[Post, int]:
        return uow.repository(Post)


post = Post(title="a")
assert_type(post.pk, int)
assert_type(post.title, str)
assert_type(Tag(pk="x", tenant_id="t", color=None).color, str | None)
assert_type(Tag(pk="x").is_deleted, bool)
assert_type(domain_replace(post, title="b"), Post)
Post("a")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue] # keyword-only
Post(pk=1, title="a")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue] # generated
Post(title=1)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # a str

provider = InMemoryRepositoryProvider(Post)
assembler: AutoAssembler[Post, CreateDTO, PostRead, UpdateDTO] = AutoAssembler(Post, PostRead)
service = PostService(provider, GrantBasedAuthorizer(), assembler)


async def check() -> None:
    assert_type(await service.get(1), PostRead)
    assert_type(await service.list(), list[PostRead])
    assert_type(await service.paged_list(), PagedReadDTO[PostRead])
    assert_type(await service.exists(1), bool)
    assert_type(service.stream(), AsyncGenerator[PostRead])
    assert_type(await service.create_many([CreateDTO()]), list[PostRead])
    await service.get(UUID(int=1))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # an int
    async with provider.make_uow() as uow:
        assert_type(await uow.repository(Post).find_by_id(1), Post | None)


class NewTag(CreateDTO, model=Tag):
    pk: str
    color: str | None = unset()


class TagRead(ReadDTO, model=Tag, exclude=("deleted_at", "version", "created_at", "updated_at")):
    pk: str
    color: str | None


class ChangeTag(UpdateDTO, model=Tag):
    color: str | None = unset()
    expected_version: int | None = None


# Once the types are said, of AsyncService; the mixins need none.
class TagService(
    TenantAwareService, SoftDeleteService, AsyncService[Tag, str, NewTag, TagRead, ChangeTag]
):
    pass


class Short(TenantAwareService, SoftDeleteService, AsyncService[Tag]):
    pass


NewTag(pk="x")
NewTag()  # type: ignore[call-arg] # pyright: ignore[reportCallIssue] # it needs a key
NewTag(pk="x", colour=None)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue] # no such field
ChangeTag(op=1)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue] # it was not asked for
generated = generate_dtos(Tag)
generated.create(pk="x", color="red")


async def check_declared(tags: TagService, short: Short) -> None:
    assert_type(await tags.get("x"), TagRead)
    assert_type((await tags.get("x")).color, str | None)
    assert_type(await tags.create(NewTag(pk="x")), TagRead)
    assert_type(await tags.update("x", ChangeTag(color="blue")), TagRead)
    assert_type(await tags.only_deleted().list(), list[TagRead])
    await tags.get(1)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # a str
    await tags.create(ChangeTag())  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # to create
    _ = (await short.get("x")).color
    await tags.restore("x")
