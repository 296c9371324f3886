"""A hook is called wherever it comes from: a subclass, a patch, or the instance."""

from functools import wraps
from typing import Any
from unittest.mock import AsyncMock, MagicMock, create_autospec, patch

import pytest

from varco_domain import (
    AbstractAuthorizer,
    Action,
    AllOf,
    AnyOf,
    AsyncRepository,
    AsyncService,
    AsyncUnitOfWork,
    AuthContext,
    AutoAssembler,
    BaseAuthorizer,
    DomainError,
    DomainModel,
    GrantBasedAuthorizer,
    InMemoryRepositoryProvider,
    IUoWProvider,
    OwnershipAuthorizer,
    ResourceGrant,
    ServiceAuthorizationError,
    ServiceNotFoundError,
    ServiceValidationError,
    UnitOfWorkError,
    ValidationError,
    ValidationResult,
    generate_dtos,
)
from varco_domain.exception import RepositoryException
from varco_query import QueryParams

pytestmark = pytest.mark.anyio


class Post(DomainModel):
    title: str
    owner_id: str | None = None


class PostService(AsyncService[Post, int, Any, Any, Any]):
    pass


DTO = generate_dtos(Post)
NEW = DTO.create(title="x")
CTX = AuthContext("ann", grants=(ResourceGrant("posts", frozenset(Action)),))
BAD = ValidationResult((ValidationError("no", "title"),))
PLACES = ("root", "class", "instance")


async def test_a_provider_of_another_kind_may_have_slots():
    class Slotted:
        __slots__ = ("inner",)

        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def make_uow(self) -> Any:
            return self.inner.make_uow()

    provider: Any = Slotted(InMemoryRepositoryProvider(Post))
    posts = PostService(provider, GrantBasedAuthorizer())
    saved = await posts.create(NEW, CTX)
    await posts.delete(saved.pk, CTX)
    assert await posts.count(ctx=CTX) == 0


def service() -> PostService:
    return PostService(InMemoryRepositoryProvider(Post), GrantBasedAuthorizer())


def patched(service: Any, name: str, hook: Any, place: str) -> Any:
    return patch.object(
        {"root": AsyncService, "class": PostService, "instance": service}[place], name, hook
    )


@pytest.mark.parametrize("place", PLACES)
async def test_a_patched_validation_refuses(place):
    posts = service()
    made = await posts.create(NEW, CTX)
    with patched(posts, "_validate", AsyncMock(return_value=BAD), place) as hook:
        for call in (
            lambda: posts.create(NEW, CTX),
            lambda: posts.create_many([NEW], CTX),
            lambda: posts.update(made.pk, DTO.update(title="y"), CTX),
            lambda: posts.update_many([(made.pk, DTO.update(title="y"))], CTX),
        ):
            with pytest.raises(ServiceValidationError):
                await call()
    assert hook.await_count == 4
    assert await posts.count(ctx=CTX) == 1


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ["_check_writes", "_after_write", "_after_commit"])
async def test_other_patched_hooks_are_called(name, place):
    posts = service()
    with patched(posts, name, AsyncMock(), place) as hook:
        made = await posts.create(NEW, CTX)
        await posts.update(made.pk, DTO.update(title="y"), CTX)
        await posts.create_many([NEW], CTX)
        await posts.update_many([(made.pk, DTO.update(title="z"))], CTX)
        if name != "_check_writes":
            await posts.delete(made.pk, CTX)
    assert hook.await_count == (4 if name == "_check_writes" else 5)


async def test_a_wrapped_hook_is_no_untouched_one():
    called = []
    original = AsyncService._after_commit

    @wraps(original)
    async def wrapped(self, ctx, changes):
        called.append(changes)
        await original(self, ctx, changes)

    posts = service()
    with patch.object(AsyncService, "_after_commit", wrapped):
        await posts.create(NEW, CTX)
    assert len(called) == 1


async def test_observers_hear_of_every_commit_and_of_no_rollback():
    posts = service()
    heard: list[Any] = []

    async def observer(ctx, changes):
        heard.extend(change.kind for change in changes)

    posts.observe(observer)
    made = await posts.create(NEW, CTX)
    await posts.delete(made.pk, CTX)
    failing = patch.object(posts, "_after_write", AsyncMock(side_effect=RuntimeError))
    with failing, pytest.raises(RuntimeError):
        await posts.create(NEW, CTX)
    assert heard == ["created", "deleted"]


@pytest.mark.parametrize("place", ["class", "base", "instance"])
async def test_a_patched_decision_decides_about_rows(place):
    provider = InMemoryRepositoryProvider(Post)
    grants = GrantBasedAuthorizer()
    target = {"class": GrantBasedAuthorizer, "base": BaseAuthorizer, "instance": grants}[place]
    refusal = ServiceAuthorizationError("read", Post)
    name, hook = (
        ("authorize", AsyncMock(side_effect=refusal))
        if place == "base"
        else ("decide", MagicMock(return_value=None))
    )
    for authorizer in (grants, AllOf(grants), AnyOf(grants)):
        posts = PostService(provider, authorizer)
        made = await posts.create(NEW, CTX)
        with patch.object(target, name, hook):
            with pytest.raises(ServiceNotFoundError):
                await posts.get(made.pk, CTX)
            assert await posts.list(ctx=CTX) == []
            assert await posts.count(ctx=CTX) == 0
        assert await posts.count(ctx=CTX) > 0


async def test_a_double_of_an_authorizer_is_asked_about_each_row():
    for double in (AsyncMock(spec=AbstractAuthorizer), create_autospec(AbstractAuthorizer)()):
        posts = PostService(InMemoryRepositoryProvider(Post), double)
        made = await posts.create(NEW, CTX)
        assert (await posts.get(made.pk, CTX)).title == "x"
        double.authorize.side_effect = ServiceAuthorizationError("read", Post)
        assert await posts.list(ctx=CTX) == []


async def test_a_patched_assembler_cannot_change_what_is_not_the_callers():
    posts = service()
    made = await posts.create(NEW, CTX)

    def change(self, entity, dto):
        entity.pk = 99
        return entity

    changing = patch.object(AutoAssembler, "apply_update", change)
    with changing, pytest.raises(DomainError, match=r"changed Post\.pk"):
        await posts.update(made.pk, DTO.update(title="y"), CTX)


async def test_a_patched_read_hook_is_no_plain_read():
    posts = service()
    assert not posts.has_own_reads()
    for name in ("_find", "_select", "_permits"):
        for place in PLACES:
            target: Any = {"root": AsyncService, "class": PostService, "instance": posts}[place]
            with patch.object(target, name, AsyncMock()):
                assert posts.has_own_reads()


# --- what has the methods of 1.0.6 only


class OldRepository:
    """What 1.0.6 asks of a repository of which one uses two methods."""

    def __init__(self) -> None:
        self.rows: dict[int, Post] = {}

    async def find_by_id(self, pk):
        return self.rows.get(pk)

    async def exists(self, pk):
        return pk in self.rows

    async def save(self, entity):
        entity.pk = entity.pk or len(self.rows) + 1
        entity._raw_orm = True
        self.rows[entity.pk] = entity
        return entity

    async def delete(self, entity):
        del self.rows[entity.pk]

    async def count(self, params=None):
        return len(self.rows)


class OldUnitOfWork(AsyncUnitOfWork):
    def __init__(self, posts) -> None:
        self.posts = posts
        self.ended = ""

    async def commit(self) -> None:
        self.ended = "committed"

    async def rollback(self) -> None:
        self.ended = "rolled back"


class OwnUnitOfWork:
    """One that derives from nothing."""

    def __init__(self, posts) -> None:
        self.posts = posts
        self.ended = ""

    async def __aenter__(self):
        return self

    async def __aexit__(self, kind, error, traceback):
        await (self.commit() if kind is None else self.rollback())

    async def commit(self) -> None:
        self.ended = "committed"

    async def rollback(self) -> None:
        self.ended = "rolled back"


class BareUnitOfWork(OwnUnitOfWork, AsyncUnitOfWork):
    """One of ours whose ``async with`` is its own."""


KINDS = (OldUnitOfWork, OwnUnitOfWork, BareUnitOfWork)


class OldProvider(IUoWProvider):
    def __init__(self, kind, **attributes: Any) -> None:
        self.kind = kind
        self.posts = OldRepository()
        self.made: list[Any] = []
        self.attributes = attributes

    def make_uow(self):
        self.made.append(self.kind(self.posts))
        vars(self.made[-1]).update(self.attributes)
        return self.made[-1]


class ReadmeService(AsyncService[Post, int, Any, Any, Any]):
    def _get_repo(self, uow):
        return uow.posts


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cls", [PostService, ReadmeService])
async def test_a_unit_of_work_and_a_repository_of_1_0_6(kind, cls):
    if kind is BareUnitOfWork and cls is PostService:
        return  # repository() is for one that has begun
    provider = OldProvider(kind)
    posts = cls(provider, OwnershipAuthorizer())
    ann, bob = AuthContext("ann"), AuthContext("bob")
    made = await posts.create(DTO.create(title="x", owner_id="ann"), ann)
    assert (await posts.get(made.pk, ann)).title == "x"
    assert await posts.exists(made.pk, ann)
    assert await posts.count(ctx=ann) == 1
    assert not await posts.exists(made.pk + 1, ann)
    # Its condition is decided about here: the repository takes none.
    assert not await posts.exists(made.pk, bob)
    for call in (posts.get, posts.delete):
        with pytest.raises(ServiceNotFoundError):
            await call(made.pk, bob)
    assert (await posts.update(made.pk, DTO.update(title="y"), ann)).title == "y"
    await posts.delete(made.pk, ann)
    assert {uow.ended for uow in provider.made} == {"committed", "rolled back"}


@pytest.mark.parametrize("kind", KINDS)
async def test_what_needs_more_says_so(kind):
    class Heard(ReadmeService):
        async def _after_commit(self, ctx, changes):
            raise AssertionError

    provider = OldProvider(kind)
    if kind is not OldUnitOfWork:
        with pytest.raises(UnitOfWorkError, match=kind.__name__):
            await Heard(provider, GrantBasedAuthorizer()).create(NEW, CTX)
        assert provider.made[-1].ended == "rolled back"
    posts = ReadmeService(provider, GrantBasedAuthorizer())
    changes = [(1, DTO.update(title="y"))]

    async def stream():
        return [post async for post in posts.stream(QueryParams(), CTX)]

    for call, method in (
        (lambda: posts.list(QueryParams(), CTX), "find_by_query"),
        (stream, "stream_by_query"),
        (lambda: posts.create_many([NEW], CTX), "save_many"),
        (lambda: posts.update_many(changes, CTX), "find_by_query"),
        (lambda: posts.delete_many([1], CTX), "find_by_query"),
    ):
        with pytest.raises(RepositoryException, match=f"OldRepository has no {method}, which"):
            await call()
        assert provider.made[-1].ended == "rolled back"


async def test_a_unit_of_work_without_the_repository_names_it():
    class Comment(DomainModel):
        text: str

    class Comments(AsyncService[Comment, int, Any, Any, Any]):
        pass

    for kind in (OldUnitOfWork, OwnUnitOfWork):
        with pytest.raises(UnitOfWorkError, match="'comments'"):
            await Comments(OldProvider(kind), GrantBasedAuthorizer()).get(
                1, AuthContext("a", grants=(ResourceGrant("comments", frozenset(Action)),))
            )


async def test_a_close_set_on_the_instance_is_called():
    closed = []

    async def close():
        closed.append(True)

    uow = InMemoryRepositoryProvider(Post).make_uow()
    uow._close = close
    async with uow:
        assert isinstance(uow.repository(Post), AsyncRepository)
    assert closed == [True]
