"""varco-domain against the same logic written by hand, on a stub that costs nearly nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from _harness import Case, Figure, main

from varco_domain import (
    Action,
    AsyncRepository,
    AsyncService,
    AsyncUnitOfWork,
    AuditedDomainModel,
    AuthContext,
    CreateDTO,
    FieldHint,
    GrantBasedAuthorizer,
    InMemoryRepositoryProvider,
    IUoWProvider,
    ReadDTO,
    Resource,
    ResourceGrant,
    ServiceNotFoundError,
    UpdateDTO,
    domain_replace,
    generate_dtos,
)
from varco_query import QueryParams, SortField


class Post(AuditedDomainModel):
    title: Annotated[str, FieldHint(max_length=200)]
    body: str
    published: bool = False


@dataclass(kw_only=True)
class PlainPost:
    created_at: datetime | None = None
    updated_at: datetime | None = None
    pk: int | None = None
    title: str
    body: str
    published: bool = False


CREATE, READ, UPDATE = generate_dtos(Post)
NOW = datetime.now(UTC)
CTX = AuthContext("u", grants=(ResourceGrant("posts", frozenset(Action)),))
ALL = QueryParams(limit=100)
BY_KEY = QueryParams(sort=(SortField("pk"),), limit=100)


def stored(pk: int) -> Post:
    post = Post(title=f"title {pk}", body="body")
    post.pk, post.created_at, post.updated_at, post._raw_orm = pk, NOW, NOW, True
    return post


class StubRepository(AsyncRepository[Post, int]):
    """Answers from a list."""

    def __init__(self) -> None:
        self.rows = [stored(pk) for pk in range(100)]

    async def find_by_id(self, pk: int, *, where: Any = None) -> Post | None:
        return self.rows[pk]

    async def find_all(self) -> list[Post]:
        return self.rows

    async def save(self, entity: Post) -> Post:
        return self.rows[1]

    async def delete(self, entity: Post) -> None:
        return None

    async def find_by_query(self, params: QueryParams) -> list[Post]:
        return self.rows

    async def count(self, params: QueryParams | None = None) -> int:
        return 100

    async def exists(self, pk: int, *, where: Any = None) -> bool:
        return True

    async def save_many(self, entities: Sequence[Post]) -> list[Post]:
        return list(entities)

    async def delete_many(self, entities: Sequence[Post]) -> None:
        return None

    async def update_many_by_query(self, params: QueryParams, update: dict[str, Any]) -> int:
        return 0

    async def stream_by_query(self, params: QueryParams) -> AsyncIterator[Post]:
        for row in self.rows:
            yield row


REPOSITORY = StubRepository()


class StubUnitOfWork(AsyncUnitOfWork):
    async def _begin(self) -> None:
        return None

    def _make_repository(self, entity_cls: Any) -> Any:
        return REPOSITORY

    async def commit(self) -> None:
        return None

    async def rollback(self) -> None:
        return None


class StubProvider(IUoWProvider):
    def make_uow(self) -> AsyncUnitOfWork:
        return StubUnitOfWork()


class PostService(AsyncService[Post, int, CreateDTO, ReadDTO, UpdateDTO]):
    """Nothing of its own."""


class ByHand:
    """What one would write for this one model: the same checks in the same order."""

    def __init__(self, provider: IUoWProvider, authorizer: GrantBasedAuthorizer) -> None:
        self.provider = provider
        self.authorizer = authorizer

    async def get(self, pk: int, ctx: AuthContext) -> Any:
        where = self.authorizer.compile(ctx, Action.READ, Post)
        async with self.provider.make_uow() as uow:
            post = await uow.repository(Post).find_by_id(pk, where=where)
            if post is None:
                raise ServiceNotFoundError(pk, Post)
            return READ.model_validate(post)

    async def list(self, params: QueryParams, ctx: AuthContext) -> Any:
        where = self.authorizer.compile(ctx, Action.READ, Post)
        query = QueryParams(where, (SortField("pk"),), params.limit)
        async with self.provider.make_uow() as uow:
            rows = await uow.repository(Post).find_by_query(query)
            return [READ.model_validate(post) for post in rows]

    async def create(self, dto: Any, ctx: AuthContext) -> Any:
        post = Post(title=dto.title, body=dto.body, published=dto.published)
        await self.authorizer.authorize(ctx, Action.CREATE, Resource(Post, post))
        async with self.provider.make_uow() as uow:
            return READ.model_validate(await uow.repository(Post).save(post))

    async def update(self, pk: int, dto: Any, ctx: AuthContext) -> Any:
        where = self.authorizer.compile(ctx, Action.READ, Post)
        async with self.provider.make_uow() as uow:
            post = await uow.repository(Post).find_by_id(pk, where=where)
            if post is None:
                raise ServiceNotFoundError(pk, Post)
            await self.authorizer.authorize(ctx, Action.UPDATE, Resource(Post, post))
            changed = domain_replace(post, **{n: getattr(dto, n) for n in dto.model_fields_set})
            await self.authorizer.authorize(ctx, Action.UPDATE, Resource(Post, changed))
            return READ.model_validate(await uow.repository(Post).save(changed))


OURS = PostService(StubProvider(), GrantBasedAuthorizer())
HAND = ByHand(StubProvider(), GrantBasedAuthorizer())
NEW = CREATE.model_validate({"title": "t", "body": "b"})
CHANGE = UPDATE.model_validate({"title": "u"})


def service(group: str, call: str, *args: Any) -> list[Case]:
    def contender(target: Any) -> Any:
        method = getattr(target, call)
        return lambda: lambda: method(*args)

    return [
        Case(group, "varco-domain", contender(OURS), ours=True),
        Case(group, "by hand", contender(HAND)),
    ]


def import_time(statement: str) -> float:
    code = (
        f"import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
    )
    runs = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(7)
    ]
    return 1000 * sorted(runs)[3]


def imports(statement: str) -> Any:
    return lambda: import_time(statement)


def memory() -> Any:
    import asyncio

    provider = InMemoryRepositoryProvider(Post)

    async def fill() -> None:
        await provider.get_repository(Post).save_many([Post(title="t", body="b")] * 1000)

    asyncio.run(fill())
    ready = PostService(provider, GrantBasedAuthorizer())
    return lambda: ready.get(500, CTX)


CASES = [
    *service("service.get", "get", 1, CTX),
    *service("service.list of 100", "list", ALL, CTX),
    *service("service.create", "create", NEW, CTX),
    *service("service.update", "update", 1, CHANGE, CTX),
    Case(
        "construct a model",
        "varco-domain",
        lambda: lambda: Post(title="t", body="b"),
        ours=True,
    ),
    Case("construct a model", "dataclass", lambda: lambda: PlainPost(title="t", body="b")),
    Case("in-memory get among 1,000", "varco-domain", memory, ours=True),
    Figure("import", "varco_domain", "ms", imports("import varco_domain"), ours=True),
    Figure("import", "varco_domain.model", "ms", imports("import varco_domain.model")),
    Figure("import", "pydantic", "ms", imports("import pydantic; pydantic.BaseModel")),
]

if __name__ == "__main__":
    main(CASES)
