"""Calls that were written for varco-core 1.0.6, by the parameters and members that it had."""

import copy
import dataclasses
import pickle
from typing import Any

import pytest
from providify import DIContainer, Instance, Provider

from varco_core.auth.base import AuthContext
from varco_core.auth.helpers import GrantBasedAuthorizer
from varco_core.authority import JwtAuthority, MultiKeyAuthority, TrustedIssuerRegistry
from varco_core.exception.repository import EntityNotFound
from varco_core.jwt import JsonWebToken, JwtBuilder, JwtParser
from varco_core.model import DomainModel
from varco_core.query import (
    AndNode,
    ASTVisitor,
    BinaryNode,
    ComparisonNode,
    NotNode,
    Operation,
    OrNode,
    QueryBuilder,
    QueryParser,
    TransformerNode,
)
from varco_core.service import AsyncService
from varco_domain import Action, InMemoryRepositoryProvider, ModelDefinitionError, ResourceGrant
from varco_events import EventServiceMixin, NoopEventProducer
from varco_query import InvalidNodeError

A, B, C = (ComparisonNode(name, Operation.EQUAL, 1) for name in "abc")
SECRET = "a-secret-that-is-long-enough-for-hs256"  # of this test alone


@pytest.mark.parametrize("kind", [AndNode, OrNode])
def test_a_binary_node_has_a_left_and_a_right(kind):
    node = kind(left=A, right=B)
    assert node == kind(A, B) == kind(A, right=B)
    assert (node.left, node.right) == (A, B)
    assert isinstance(node, BinaryNode)
    assert not isinstance(NotNode(A), BinaryNode)
    assert kind(A, B, C).right == kind(B, C)
    for less in (kind(), kind(A)):
        with pytest.raises(InvalidNodeError, match="children"):
            _ = less.right
    with pytest.raises(InvalidNodeError, match="left"):
        _ = kind().left
    with pytest.raises(InvalidNodeError, match="no query node"):
        kind(left=A, right="b = 1")
    assert pickle.loads(pickle.dumps(node)) == node == copy.deepcopy(node)


def test_a_visitor_is_asked_about_nodes_of_other_kinds():
    class Mine(TransformerNode):
        __slots__ = ()
        type: Any = "MINE"
        children = ()

    class Count(ASTVisitor[int]):
        def visit_comparison(self, node, args=None, **kwargs):
            return 1

        def visit_and(self, node, args=None, **kwargs):
            return sum(args)

        def visit_or(self, node, args=None, **kwargs):
            return sum(args)

        def visit_not(self, node, args=None, **kwargs):
            return args

    class Taught(Count):
        def generic_visit(self, node):
            return 100

    assert Count().visit(AndNode(A, NotNode(B))) == 2
    with pytest.raises(InvalidNodeError, match="Count knows no Mine; override generic_visit"):
        Count().visit(AndNode(A, Mine()))
    assert Taught().visit(AndNode(A, Mine())) == 101


def test_a_builder_is_begun_by_a_field():
    assert QueryBuilder.eq_("a", 1).build() == QueryBuilder.field("a", Operation.EQUAL, 1).build()
    assert QueryBuilder.eq_("a", 1).eq("b", 1).build() == AndNode(A, B)


def test_a_filter_is_parsed_by_the_name_of_its_parameter():
    assert QueryParser().parse(query="a = 1").node == A


def test_what_is_not_found_is_named_by_its_table():
    error = EntityNotFound("7", "posts")
    assert (error.entity_id, error.table, error.entity_cls) == ("7", "posts", None)
    assert str(error) == str(EntityNotFound(entity_id="7", table="posts"))
    assert "posts with key '7' not found" in str(error)
    assert EntityNotFound(7, DomainModel).table == "DomainModel"


class Note(DomainModel):
    text: str


class Plain(AsyncService[Note]): ...


class Publishing(EventServiceMixin, AsyncService[Note]): ...


@pytest.mark.anyio
async def test_a_service_takes_its_producer():
    class Told(NoopEventProducer):
        def __init__(self):
            self.events = []

        async def produce_many(self, events):
            self.events += events

    producer = Told()
    provider = InMemoryRepositoryProvider(Note)
    ctx = AuthContext("ann", grants=(ResourceGrant("*", frozenset(Action)),))
    for service in (
        Publishing(provider, GrantBasedAuthorizer(), None, producer),
        Publishing(uow_provider=provider, authorizer=GrantBasedAuthorizer(), producer=producer),
    ):
        await service.create(service.types.create(text="hello"), ctx)
    assert len(producer.events) == 2
    with pytest.raises(ModelDefinitionError, match=r"Plain.*varco_events\.EventServiceMixin"):
        Plain(provider, GrantBasedAuthorizer(), None, producer)


def test_a_token_is_made_of_a_context():
    ctx = AuthContext("ann", frozenset({"admin"}), frozenset({"read"}))
    token = JsonWebToken(iss="me", auth_ctx=ctx, extra_claims={"x": 1})
    assert token.sub == "ann"
    assert token.auth_ctx == ctx
    assert token.extra_claims["x"] == 1
    assert dataclasses.replace(token, iss="you").auth_ctx == ctx
    assert pickle.loads(pickle.dumps(token)) == token
    with pytest.raises(Exception, match=r"about 'bob'.*about 'ann'"):
        JsonWebToken(sub="bob", auth_ctx=ctx)


def test_options_may_ask_for_more_and_not_for_less():
    token = JwtBuilder().subject("ann").expires_in(60).encode(SECRET)
    options = {"verify_exp": True, "require": ["sub"]}
    assert JwtParser.parse(token, SECRET, algorithms=["HS256"], options=options).sub == "ann"
    with pytest.raises(Exception, match="jti"):
        JwtParser.parse(token, SECRET, options={"require": ["jti"]})
    for refused in ({"verify_exp": False}, {"verify_signature": 0}, {"strict_aud": True}):
        with pytest.raises(ValueError, match=f"{next(iter(refused))}.*parse_unverified"):
            JwtParser.parse(token, SECRET, options=refused)


@pytest.mark.anyio
async def test_a_registry_is_made_of_the_authorities_in_a_container(rsa_pems, monkeypatch):
    def authority(kid: str, issuer: str) -> JwtAuthority:
        return JwtAuthority.from_pem(rsa_pems[kid], kid=kid, issuer=issuer, algorithm="RS256")

    alone, among = authority("one", "alone"), authority("two", "several")
    several = MultiKeyAuthority(among)

    @Provider(singleton=True)
    def first() -> MultiKeyAuthority:
        return several

    @Provider(singleton=True)
    def second() -> JwtAuthority:
        return alone

    @Provider(singleton=True)
    def third() -> JwtAuthority:
        return among

    @Provider(singleton=True)
    async def registry(
        multi: Instance[MultiKeyAuthority], single: Instance[JwtAuthority]
    ) -> TrustedIssuerRegistry:
        return await TrustedIssuerRegistry.from_container(multi, single, include_env=False)

    container = DIContainer()
    for each in (first, second, third, registry):
        container.provide(each)
    found = await container.aget(TrustedIssuerRegistry)
    for each in (alone, several):
        signed = each.sign(each.token().subject("ann").expires_in(60))
        assert (await found.verify(signed)).iss == each.issuer
    empty = DIContainer()
    empty.provide(registry)
    with pytest.raises(Exception, match="alone"):
        await (await empty.aget(TrustedIssuerRegistry)).verify(
            alone.sign(alone.token().subject("ann").expires_in(60))
        )


@pytest.fixture(scope="module")
def rsa_pems() -> dict[str, bytes]:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    return {
        kid: rsa.generate_private_key(65537, 2048).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        for kid in ("one", "two")
    }


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
