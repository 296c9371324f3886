import inspect
import pickle
from importlib import import_module
from typing import Annotated, Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

import varco_domain
import varco_query
from varco_domain import (
    Action,
    AsyncService,
    AuthContext,
    CheckViolationError,
    CreateDTO,
    DomainError,
    DomainModel,
    EntityNotFound,
    ErrorCode,
    FastrestErrorCodes,
    ForeignKey,
    GrantBasedAuthorizer,
    InMemoryRepositoryProvider,
    ReadDTO,
    ReferenceViolationError,
    ResourceGrant,
    ServiceAuthorizationError,
    ServiceConflictError,
    ServiceNotFoundError,
    ServiceValidationError,
    StaleEntityError,
    StillReferencedError,
    StorageUnavailableError,
    TenantAwareService,
    TenantVersionedDomainModel,
    UniqueViolationError,
    UpdateDTO,
    ValidationError,
    error_code_for,
    error_message_for,
    generate_dtos,
    problem_for,
    register_error_code,
    tenant_context,
)
from varco_query import (
    ComparisonNode,
    Operation,
    QueryError,
    QueryParams,
    QueryParser,
    SortField,
)


class Thing(TenantVersionedDomainModel):
    name: str
    secret: str = "s"


def error_classes() -> list[type[BaseException]]:
    modules = [varco_query, varco_domain, import_module("varco_domain.service")]
    for name in ("varco_resilience", "varco_events", "varco_auth_jwt", "varco_cache", "varco_sa"):
        try:
            modules.append(import_module(name))
        except ImportError:
            continue
    found: dict[type[BaseException], None] = {}
    for module in modules:
        for name in getattr(module, "__all__", ()):
            item = getattr(module, name, None)
            if inspect.isclass(item) and issubclass(item, Exception):
                found[item] = None
    return list(found)


def test_every_error_has_a_code_and_a_status():
    for cls in error_classes():
        group = issubclass(cls, BaseExceptionGroup)
        exc = cls.__new__(cls, "message", [Exception()]) if group else cls.__new__(cls)
        code = error_code_for(exc)
        if hasattr(cls, "code"):
            assert (code.code, code.http_status) == (cls.code, cls.http_status)
            assert 400 <= code.http_status < 600


def test_domain_codes_are_told_apart():
    assert {c.code for c in FastrestErrorCodes} >= {"FASTREST_001", "FASTREST_500"}
    for cls in error_classes():
        if issubclass(cls, DomainError):
            assert (cls.code and cls.code != "domain.error") or cls is DomainError, cls


SAMPLES = [
    ServiceNotFoundError(1, Thing),
    ServiceAuthorizationError("read", Thing, reason="internal reason"),
    ServiceValidationError("bad", "name", errors=[ValidationError("bad", "name", 3)]),
    EntityNotFound(1, Thing),
    StaleEntityError(Thing, 1, 2),
    UniqueViolationError(Thing, ("name",)),
    ReferenceViolationError(Thing, "name"),
    StillReferencedError(Thing),
    CheckViolationError(Thing, "name", "rule"),
    StorageUnavailableError("connection to 10.0.0.1 lost"),
]


@pytest.mark.parametrize("error", SAMPLES, ids=lambda e: type(e).__name__)
def test_errors_survive_pickling(error: Exception):
    twin = pickle.loads(pickle.dumps(error))
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    assert problem_for(twin) == problem_for(error)


def test_bodies():
    assert problem_for(SAMPLES[0], instance="/things/1") == {
        "type": "urn:varco:error:FASTREST_001",
        "title": "Not found",
        "status": 404,
        "code": "FASTREST_001",
        "detail": "Thing with key 1 not found",
        "instance": "/things/1",
    }
    assert "internal reason" in str(SAMPLES[1])
    assert "internal reason" not in str(problem_for(SAMPLES[1]))
    assert problem_for(SAMPLES[2])["errors"] == [{"message": "bad", "field": "name", "index": 3}]
    assert "10.0.0.1" not in str(problem_for(SAMPLES[-1]))
    assert problem_for(SAMPLES[-1])["status"] == 503
    unknown = problem_for(RuntimeError("password=hunter2"))
    assert unknown["status"] == 500
    assert "hunter2" not in str(unknown)
    message = error_message_for(
        SAMPLES[0], translator={"FASTREST_001": "Nicht gefunden"}.__getitem__
    )
    assert message.message == "Nicht gefunden"


def test_other_codes_for_classes_of_ones_own():
    class MineError(Exception):
        code = "mine.teapot"
        http_status = 418

    class TheirsError(LookupError):
        pass

    class ChildError(TheirsError):
        pass

    assert error_code_for(MineError()) == ErrorCode("mine.teapot", 418, "I'm a Teapot")
    assert error_code_for(TheirsError()) is FastrestErrorCodes.INTERNAL_ERROR.value
    register_error_code(TheirsError, ErrorCode("theirs", 410, "Gone"))
    assert error_code_for(ChildError("x")).http_status == 410


class ThingService(TenantAwareService[Thing, int, CreateDTO, ReadDTO, UpdateDTO]):
    pass


ADMIN = AuthContext("u", grants=(ResourceGrant("things", frozenset(Action)),))
Dto = generate_dtos(Thing, include=("expected_version",))
names = st.sampled_from(["name", "secret", "pk", "tenant_id", "nothing", "version"])
values = st.one_of(
    st.integers(),
    st.text(max_size=5),
    st.booleans(),
    st.none(),
    st.floats(),
    st.lists(st.integers()),
)


@given(
    field=names,
    op=st.sampled_from(Operation),
    value=values,
    pk=values,
    version=st.integers(-5, 5),
    operation=st.integers(0, 8),
)
def test_errors_hold_no_sql_and_no_foreign_values(field, op, value, pk, version, operation):
    async def check() -> None:
        service = ThingService(InMemoryRepositoryProvider(Thing), GrantBasedAuthorizer())
        with tenant_context("theirs"):
            await service.create(Dto.create(name="their-name", secret="their-secret"), ADMIN)
        with tenant_context("mine"):
            try:
                query = QueryParams(
                    node=ComparisonNode(field, op, value), sort=(SortField(field),), cursor=str(pk)
                )
                change: Any = Dto.update(name="n", expected_version=version)
                await [
                    lambda: service.get(pk, ADMIN),
                    lambda: service.list(query, ADMIN),
                    lambda: service.paged_list(query, ADMIN),
                    lambda: service.count(query, ADMIN),
                    lambda: service.update(pk, change, ADMIN),
                    lambda: service.update_many([(pk, change)], ADMIN),
                    lambda: service.delete(pk, ADMIN),
                    lambda: service.delete_many([pk, 1], ADMIN),
                    lambda: service.exists(pk, ADMIN),
                ][operation]()
            except Exception as raised:
                caught = raised
            else:
                return
        assert error_code_for(caught).http_status < 500, caught
        text = f"{caught} {caught!r} {problem_for(caught)}"
        for banned in ("SELECT", "FROM ", "WHERE", "their-name", "their-secret", "theirs"):
            assert banned not in text

    anyio.run(check)


def test_a_service_that_forgets_deleted_rows_is_refused():
    class Marked(varco_domain.SoftDeleteDomainModel):
        name: str

    class Forgetful(AsyncService[Marked, int, CreateDTO, ReadDTO, UpdateDTO]):
        pass

    class Eager(varco_domain.SoftDeleteService[Thing, int, CreateDTO, ReadDTO, UpdateDTO]):
        pass

    for cls in (Forgetful, Eager):
        with pytest.raises(varco_domain.ModelDefinitionError, match="SoftDelete"):
            cls(InMemoryRepositoryProvider(), GrantBasedAuthorizer())


def test_a_wrong_assembler_is_found_out():
    class Leaf(DomainModel):
        name: str

    class Careless(varco_domain.AutoAssembler[Leaf, CreateDTO, ReadDTO, UpdateDTO]):
        def apply_update(self, entity, dto):
            entity.pk = 99
            return entity

    class LeafService(AsyncService[Leaf, int, CreateDTO, ReadDTO, UpdateDTO]):
        pass

    async def check() -> None:
        grants = AuthContext("u", grants=(ResourceGrant("leafs", frozenset(Action)),))
        service = LeafService(InMemoryRepositoryProvider(Leaf), GrantBasedAuthorizer(), Careless())
        await service.create(generate_dtos(Leaf).create(name="a"), grants)
        with pytest.raises(DomainError, match=r"changed Leaf\.pk"):
            await service.update(1, generate_dtos(Leaf).update(name="b"), grants)

    anyio.run(check)


def test_one_title_for_each_status():
    titles: dict[int, set[str]] = {}
    for cls in error_classes():
        group = issubclass(cls, BaseExceptionGroup)
        exc = cls.__new__(cls, "message", [Exception()]) if group else cls.__new__(cls)
        code = error_code_for(exc)
        titles.setdefault(code.http_status, set()).add(code.default_message)
    assert {status: len(found) for status, found in titles.items()} == dict.fromkeys(titles, 1)
    assert {404, 409, 422, 500} <= set(titles)


def test_what_is_public_of_an_error_is_all_that_its_body_says():
    class RefusedError(Exception):
        code = "mine.refused"
        http_status = 401
        public_message = "The token is not valid."

    body = problem_for(RefusedError("the key 'k1' of https://inside.example is not known"))
    assert body["detail"] == "The token is not valid."
    assert "inside.example" not in str(body)


def test_every_validation_error_has_its_single_errors():
    for error in (
        ServiceValidationError("bad", "name"),
        ReferenceViolationError(Thing, "name"),
        CheckViolationError(Thing, "name", "rule"),
    ):
        (single,) = problem_for(error)["errors"]
        assert single["field"] == "name"
        assert error.errors[0].message


def test_removing_what_others_refer_to_is_a_conflict():
    class Shelf(DomainModel):
        name: str

    class Book(DomainModel):
        shelf_id: Annotated[int, ForeignKey(Shelf)]

    async def check() -> None:
        async with InMemoryRepositoryProvider(Shelf, Book).make_uow() as uow:
            shelf = await uow.shelfs.save(Shelf(name="a"))
            await uow.books.save(Book(shelf_id=shelf.pk))
            with pytest.raises(StillReferencedError) as caught:
                await uow.shelfs.delete(shelf)
        assert problem_for(caught.value)["status"] == 409
        assert isinstance(caught.value, ServiceConflictError)

    anyio.run(check)


@pytest.mark.parametrize("bound", [{"limit": 1001}, {"limit": 10, "offset": 1, "cursor": "x"}])
def test_bounds_of_a_query_answer_like_those_of_a_parser(bound):
    async def check() -> None:
        service = ThingService(InMemoryRepositoryProvider(Thing), GrantBasedAuthorizer())
        with tenant_context("mine"), pytest.raises(QueryError) as caught:
            await service.paged_list(QueryParams(**bound), ADMIN)
        assert problem_for(caught.value)["status"] == 400

    anyio.run(check)
    with pytest.raises(QueryError) as parsed:
        QueryParser().parse("name = 'x'", limit=1001)
    assert problem_for(parsed.value)["status"] == 400


@pytest.mark.anyio
async def test_an_unknown_field_is_one_error_wherever_it_is_noticed():
    class Shelf(DomainModel):
        name: str

    repository = InMemoryRepositoryProvider(Shelf).get_repository(Shelf)
    wrong = varco_query.QueryParams(varco_query.F.nam == "x")
    with pytest.raises(varco_query.UnknownFieldError) as parsed:
        varco_query.QueryParser(varco_query.QuerySchema.of(Shelf)).parse("nam = 'x'")
    with pytest.raises(varco_query.UnknownFieldError, match="shelfs has no field 'nam'") as stored:
        await repository.update_many_by_query(varco_query.QueryParams(), {"nam": "y"})
    with pytest.raises(varco_query.UnknownFieldError):
        await repository.find_by_query(wrong)
    assert problem_for(stored.value)["code"] == problem_for(parsed.value)["code"]
    copy = pickle.loads(pickle.dumps(stored.value))
    assert (str(copy), copy.field, copy.table) == (str(stored.value), "nam", "shelfs")
