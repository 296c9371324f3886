"""Who calls, and for which tenant: closed unless something says otherwise."""

import pytest

from varco_auth_jwt import JwtAuthority, KeysUnavailableError, TrustedIssuerRegistry
from varco_domain.auth import AuthContext
from varco_http import (
    ApiKeys,
    BearerTokens,
    Caller,
    Callers,
    HttpConfigError,
    TenantFromClaim,
    TenantFromHeader,
    TenantFromHost,
    TenantRefusedError,
    UnauthenticatedError,
    problem_response,
)

authority = JwtAuthority.generate(issuer="https://me.example")
other = JwtAuthority.generate(issuer="https://me.example")


@pytest.fixture
def anyio_backend():
    return "asyncio"


pytestmark = pytest.mark.anyio


def signed(**claims):
    token = authority.token().subject("ann").expires_in(60)
    for name, value in claims.items():
        token = token.claim(name, value)
    return authority.sign(token)


def bearer(text, scheme="Bearer"):
    return {"authorization": f"{scheme} {text}"}


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "  bEaReR"])
async def test_a_subject_is_who_calls(scheme):
    caller = await Callers(BearerTokens(authority)).identify(bearer(signed(), scheme))
    assert caller.ctx == AuthContext("ann")


async def test_a_registry_verifies_too():
    registry = TrustedIssuerRegistry()
    registry.register_authority(authority, label="me")
    caller = await Callers(BearerTokens(registry)).identify(bearer(signed(roles=["admin"])))
    assert caller.ctx == AuthContext("ann", roles=frozenset({"admin"}))


@pytest.mark.parametrize(
    ("headers", "challenge"),
    [
        ({}, 'Bearer realm="tracker"'),
        ({"authorization": "Basic YTpi"}, 'Bearer realm="tracker"'),
        (bearer("x.y.z"), 'Bearer realm="tracker", error="invalid_token"'),
        (bearer(""), 'Bearer realm="tracker", error="invalid_token"'),
        (bearer("a b"), 'Bearer realm="tracker", error="invalid_token"'),
        (
            bearer(other.sign(other.token().subject("ann").expires_in(60))),
            'Bearer realm="tracker", error="invalid_token"',
        ),
    ],
)
async def test_who_is_not_known_is_told_how_to_become_so(headers, challenge):
    callers = Callers(BearerTokens(authority, realm="tracker"))
    with pytest.raises(UnauthenticatedError) as caught:
        await callers.identify(headers)
    answer = problem_response(caught.value)
    assert (answer.status, answer.header("www-authenticate")) == (401, challenge)
    assert b"signature" not in answer.body
    assert b"kid" not in answer.body


async def test_keys_that_cannot_be_had_are_an_outage_and_no_refusal():
    class Down:
        async def verify(self, token):
            raise KeysUnavailableError("https://inside.example is down")

    with pytest.raises(KeysUnavailableError) as caught:
        await Callers(BearerTokens(Down())).identify(bearer("t"))
    answer = problem_response(caught.value)
    assert (answer.status, answer.header("retry-after")) == (503, "1")
    assert b"inside" not in answer.body


async def test_keys_and_nobody():
    async def find(key):
        return {"k1": AuthContext("robot"), "k2": Caller(AuthContext("r2"), "acme")}.get(key)

    schemes = (BearerTokens(authority), ApiKeys(find))
    callers = Callers(*schemes, tenant=TenantFromClaim())
    assert (await callers.identify({"x-api-key": "k2"})).tenant == "acme"
    with pytest.raises(TenantRefusedError):
        await callers.identify({"x-api-key": "k1"})
    for key in ("", "k3", "k\x00", "é", "k" * 5000):
        with pytest.raises(UnauthenticatedError) as caught:
            await callers.identify({"x-api-key": key})
        assert dict(caught.value.headers) == {"www-authenticate": "Bearer"}
    with pytest.raises(UnauthenticatedError, match="several"):
        await callers.identify({"x-api-key": "k2", **bearer(signed(tenant="acme"))})
    with pytest.raises(UnauthenticatedError):
        await callers.identify({})
    nobody = await Callers(*schemes, tenant=TenantFromClaim(), anonymous=True).identify({})
    assert nobody == Caller()
    assert set(callers.schemes) == {"bearer", "apiKey"}


@pytest.mark.parametrize("claim", [None, "", 3, ["acme"], " acme", "a" * 256, "a\x00b"])
async def test_a_claim_that_is_no_tenant_is_refused(claim):
    claims = {} if claim is None else {"tenant": claim}
    callers = Callers(BearerTokens(authority), tenant=TenantFromClaim())
    with pytest.raises(TenantRefusedError):
        await callers.identify(bearer(signed(**claims)))
    assert (await callers.identify(bearer(signed(tenant="acme")))).tenant == "acme"


@pytest.mark.parametrize(
    ("tenant_of", "good", "bad"),
    [
        (
            TenantFromHeader(claim="tenants"),
            [{"x-tenant": "acme"}, {"x-tenant": "evil"}],
            [{"x-tenant": "other"}, {"x-tenant": ""}, {}, {"x-tenant": "acme, evil"}],
        ),
        (
            TenantFromHost("tracker.example", claim="tenants"),
            [{"host": "acme.tracker.example"}, {"host": "EVIL.Tracker.Example:8000"}],
            [
                {"host": "tracker.example"},
                {"host": "acme.tracker.example.evil.example"},
                {"host": "a.acme.tracker.example"},
                {"host": "other.tracker.example"},
                {"host": "acme.nottracker.example"},
                {},
            ],
        ),
    ],
)
async def test_a_tenant_that_a_client_names_has_to_be_its_own(tenant_of, good, bad):
    callers = Callers(BearerTokens(authority), tenant=tenant_of)
    token = bearer(signed(tenants=["acme", "evil"]))
    assert [(await callers.identify(token | each)).tenant for each in good] == ["acme", "evil"]
    for each in bad:
        with pytest.raises(TenantRefusedError):
            await callers.identify(token | each)
    with pytest.raises(TenantRefusedError):
        await callers.identify(bearer(signed()) | good[0])
    with pytest.raises(TenantRefusedError):
        await Callers(tenant=tenant_of, anonymous=True).identify(good[0])


def test_nobody_believes_a_tenant_without_a_reason():
    with pytest.raises(HttpConfigError, match="claim="):
        TenantFromHeader()
    with pytest.raises(HttpConfigError):
        TenantFromHost("x.example")
    with pytest.raises(HttpConfigError):
        BearerTokens(authority, realm='a"b')
