"""The paths of the specification's module table, and what stands behind them."""

import importlib
import subprocess
import sys

import pytest

import varco_core

# Each row: the path, the slice that serves it, and the names that the table promises there.
TABLE = [
    (
        "model",
        "varco_domain",
        "DomainModel AuditedDomainModel VersionedDomainModel SoftDeleteMixin TenantMixin",
    ),
    ("meta", "varco_domain", "FieldHint ForeignKey PrimaryKey PKStrategy pk_field"),
    ("mapper", "varco_domain.backend", "AbstractMapper"),
    ("repository", "varco_domain", "AsyncRepository"),
    ("uow", "varco_domain", "AsyncUnitOfWork"),
    ("registry", "varco_domain", "DomainModelRegistry register"),
    ("providers", "varco_domain", "RepositoryProvider"),
    ("assembler", "varco_domain", "AbstractDTOAssembler"),
    ("dto", "varco_domain", "CreateDTO ReadDTO UpdateDTO generate_dtos"),
    ("service.base", "varco_domain", "AsyncService IUoWProvider"),
    ("service.tenant", "varco_domain", "TenantAwareService TenantUoWProvider tenant_context"),
    ("service.soft_delete", "varco_domain", "SoftDeleteService"),
    ("service.types", "varco_domain", "Assembler ServiceProtocol"),
    ("service.validation", "varco_domain", "ValidatorServiceMixin"),
    ("auth", "varco_domain", "AbstractAuthorizer Action AuthContext ResourceGrant"),
    (
        "auth.helpers",
        "varco_domain",
        "GrantBasedAuthorizer OwnershipAuthorizer RoleBasedAuthorizer",
    ),
    ("exception", "varco_domain", "FastrestErrorCodes ErrorCode ErrorMessage"),
    (
        "validation",
        "varco_domain",
        "Validator DomainModelValidator CompositeValidator ValidationResult ValidationError",
    ),
    ("query", "varco_query", "QueryBuilder QueryParams QueryParser"),
    ("jwt", "varco_auth_jwt", "JwtBuilder JwtParser JwtUtil JsonWebToken"),
    ("jwk", "varco_auth_jwt", "JwkBuilder JsonWebKey JsonWebKeySet"),
    ("authority", "varco_auth_jwt", "JwtAuthority MultiKeyAuthority TrustedIssuerRegistry"),
    (
        "event",
        "varco_events",
        "AbstractEventBus EventConsumer BusEventProducer listen ChannelManager",
    ),
    (
        "event.dlq",
        "varco_events",
        "AbstractDeadLetterQueue InMemoryDeadLetterQueue DeadLetterEntry",
    ),
    ("service.outbox", "varco_events", "OutboxEntry OutboxRepository OutboxRelay"),
    ("serialization", "varco_events", "Serializer JsonSerializer NoOpSerializer"),
    ("tracing", "varco_events", "correlation_context current_correlation_id CorrelationIdFilter"),
    (
        "resilience",
        "varco_resilience",
        """retry RetryPolicy CircuitBreaker CircuitBreakerConfig timeout CallTimeoutError
        RetryExhaustedError CircuitOpenError circuit_breaker""",
    ),
    (
        "cache",
        "varco_cache",
        """AsyncCache CacheBackend InMemoryCache NoOpCache LayeredCache CachedService cached
        TTLStrategy ExplicitStrategy TaggedStrategy EventDrivenStrategy CompositeStrategy""",
    ),
]


@pytest.mark.parametrize(("path", "served_by", "names"), TABLE, ids=[row[0] for row in TABLE])
def test_a_path_offers_what_the_specification_says(path, served_by, names):
    module = importlib.import_module(f"varco_core.{path}")
    home = importlib.import_module(served_by)
    for name in names.split():
        assert name in module.__all__
        assert getattr(module, name) is getattr(home, name) is getattr(varco_core, name)


def test_every_name_is_there_and_is_the_object_of_its_slice():
    homes = [
        importlib.import_module(f"varco_{name}")
        for name in ("auth_jwt", "cache", "domain", "events", "query", "resilience")
    ]
    homes.append(importlib.import_module("varco_domain.backend"))
    assert set(varco_core.__all__) == {name for home in homes for name in home.__all__}
    for home in homes:
        for name in home.__all__:
            assert getattr(varco_core, name) is getattr(home, name)


def test_the_names_of_the_readme_come_from_the_top():
    names = """AuditedDomainModel AsyncService IUoWProvider QueryBuilder QueryParams QueryParser
        JwtBuilder JwtParser CacheServiceMixin"""
    for name in names.split():
        assert hasattr(varco_core, name)


def test_a_mistyped_name_suggests_the_right_one():
    with pytest.raises(AttributeError, match="Did you mean 'AsyncService'"):
        _ = varco_core.AsyncServise
    assert not hasattr(varco_core, "__path_to_nowhere__")


def test_dir_lists_every_name():
    assert set(varco_core.__all__) <= set(dir(varco_core))


def test_a_star_import_gives_every_name():
    space: dict[str, object] = {}
    exec("from varco_core import *", space)
    assert set(varco_core.__all__) <= set(space)


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import varco_core", "pydantic lark joserfc httpx sqlalchemy varco_domain varco_query"),
        ("from varco_core import JwtBuilder", "pydantic lark httpx sqlalchemy varco_domain"),
        ("from varco_core import QueryBuilder", "pydantic lark joserfc varco_domain"),
        ("from varco_core.resilience import retry", "pydantic lark joserfc varco_events"),
        ("from varco_core import InMemoryCache", "pydantic lark joserfc varco_domain"),
    ],
)
def test_only_what_is_touched_is_loaded(statement, absent):
    code = f"{statement}\nimport sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(run.stdout.split()).isdisjoint(absent.split())
