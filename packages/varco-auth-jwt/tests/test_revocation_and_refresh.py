"""Revoked tokens, and refresh tokens that are good once."""

from datetime import UTC, datetime, timedelta

import anyio
import pytest

from varco_auth_jwt import (
    ClaimMissingError,
    InMemoryDenylist,
    InMemoryRefreshStore,
    JwkBuilder,
    JwtAuthority,
    JwtBuilder,
    JwtParser,
    JwtUtil,
    MultiKeyAuthority,
    RefreshReusedError,
    RefreshTokens,
    RefreshUnknownError,
    RevocationUnavailableError,
    SignatureInvalidError,
    TokenBuildError,
    TokenError,
    TokenExpiredError,
    TokenRevokedError,
    TokenTypeError,
    TrustedIssuerRegistry,
    UnknownKidError,
)

pytestmark = pytest.mark.anyio

SECRET = "a secret of more than two hundred and fifty-six bits"
ISSUER = "https://me.example"


def token_of(jti="t1", issuer=ISSUER):
    builder = JwtBuilder(SECRET).issuer(issuer).expires_in(600)
    return (builder.token_id(jti) if jti else builder).build()


async def test_a_revoked_token_is_refused(clock):
    denylist = InMemoryDenylist()
    parser = JwtParser(SECRET, denylist=denylist)
    token = parser.parse(token_of())
    denylist.revoke("t1", until=token.exp)
    with pytest.raises(TokenRevokedError):
        parser.parse(token_of())
    assert parser.parse(token_of("t2"))
    denylist.revoke("t2", until=token.exp, issuer="https://other.example")
    assert parser.parse(token_of("t2"))
    with pytest.raises(TokenRevokedError):
        parser.parse(token_of("t2", "https://other.example"))
    with pytest.raises(ClaimMissingError):
        parser.parse(token_of(None))


async def test_a_token_that_was_good_before_is_looked_at_again(clock):
    """Of a token that comes again only the signature is taken for granted."""
    denylist = InMemoryDenylist(clock=clock)
    first = JwtAuthority.generate(issuer=ISSUER, kid="first", clock=clock)
    authority = MultiKeyAuthority(first, clock=clock)
    registry = TrustedIssuerRegistry(clock=clock, denylist=denylist)
    registry.register_authority(authority)
    token = authority.token().token_id("t1").expires_in(600).build()
    other = authority.token().token_id("t2").expires_in(600).build()
    for _ in range(2):
        assert (await registry.verify(token)).jti == "t1"
        assert (await registry.verify(other)).jti == "t2"
        with pytest.raises(SignatureInvalidError):
            await registry.verify(token.rpartition(".")[0] + "." + other.rpartition(".")[2])
    denylist.revoke("t1", until=(await registry.verify(token)).exp)
    with pytest.raises(TokenRevokedError):
        await registry.verify(token)
    authority.rotate(JwtAuthority.generate(issuer=ISSUER, kid="second", clock=clock))
    assert (await registry.verify(other)).jti == "t2"
    authority.retire("first")
    with pytest.raises(UnknownKidError):
        await registry.verify(other)
    late = authority.token().token_id("t3").expires_in(60).build()
    assert await registry.verify(late)
    clock.advance(61)
    with pytest.raises(TokenExpiredError):
        await registry.verify(late)


async def test_the_denylist_forgets_what_has_expired(clock):
    denylist = InMemoryDenylist(clock=clock)
    now = datetime.fromtimestamp(clock.now, UTC)
    for n in range(100):
        denylist.revoke(str(n), until=now + timedelta(seconds=n + 1))
    assert len(denylist) == 100
    clock.advance(3600 + 50)
    denylist.revoke("x", until=now + timedelta(seconds=100))
    assert len(denylist) == 51


class Broken:
    def is_revoked(self, token):
        raise ConnectionError("no denylist")


class BrokenAsync:
    async def is_revoked(self, token):
        raise ConnectionError("no denylist")


class Answers:
    def __init__(self, answer):
        self.answer = answer

    async def is_revoked(self, token):
        return self.answer


async def test_a_denylist_that_cannot_be_asked_refuses():
    for denylist in (Broken(), BrokenAsync(), Answers(False)):
        with pytest.raises(RevocationUnavailableError) as caught:
            JwtParser(SECRET, denylist=denylist).parse(token_of())
        assert caught.value.http_status == 503


async def test_a_registry_asks_sync_and_async_denylists():
    authority = JwtAuthority.generate(issuer=ISSUER)
    token = authority.token().with_random_jti().expires_in(60).build()
    revoking = InMemoryDenylist()
    jti = authority.verify(token).jti
    revoking.revoke(jti, until=datetime.now(UTC) + timedelta(60))
    for denylist, error in (
        (InMemoryDenylist(), None),
        (Answers(False), None),
        (revoking, TokenRevokedError),
        (Answers(True), TokenRevokedError),
        (Answers(None), TokenRevokedError),
        (Broken(), RevocationUnavailableError),
        (BrokenAsync(), RevocationUnavailableError),
    ):
        registry = TrustedIssuerRegistry(denylist=denylist)
        registry.register_authority(authority)
        if error is None:
            assert (await registry.verify(token)).jti == jti
        else:
            with pytest.raises(error):
                await registry.verify(token)


@pytest.fixture
def tokens(clock):
    key = JwkBuilder.generate("ES256")
    authority = MultiKeyAuthority(
        JwtAuthority(private_key=key, issuer=ISSUER, clock=clock), clock=clock
    )
    store = InMemoryRefreshStore(clock=clock)
    return RefreshTokens(authority, store, lifetime=1000, clock=clock)


async def test_a_refresh_token_is_good_once(tokens):
    first = await tokens.issue("user-42")
    rotation = await tokens.rotate(first)
    assert rotation.used.sub == "user-42"
    assert JwtUtil(rotation.used).is_refresh_token()
    second = await tokens.rotate(rotation.token)
    with pytest.raises(RefreshReusedError):
        await tokens.rotate(first)
    with pytest.raises(RefreshUnknownError):
        await tokens.rotate(second.token)
    assert (await tokens.rotate(await tokens.issue("user-42"))).used.sub == "user-42"


async def test_of_a_hundred_concurrent_uses_one_wins_and_the_family_ends(tokens):
    token = await tokens.issue("user-42")
    won, lost = [], []

    async def use():
        try:
            won.append((await tokens.rotate(token)).token)
        except (RefreshReusedError, RefreshUnknownError) as error:
            lost.append(type(error))

    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(use)
    assert len(won) == 1
    assert lost.count(RefreshReusedError) == 1
    with pytest.raises(RefreshUnknownError):
        await tokens.rotate(won[0])


async def test_who_cannot_sign_leaves_the_family_as_it_was(tokens):
    token = await tokens.issue("user-42")
    sign = tokens._token

    def broken(*args):
        raise TokenBuildError("the key is away")

    tokens._token = broken
    with pytest.raises(TokenBuildError):
        await tokens.rotate(token)
    with pytest.raises(TokenBuildError):
        await tokens.issue("another")
    assert len(tokens._store) == 1
    tokens._token = sign
    assert token not in repr(rotation := await tokens.rotate(token))
    assert rotation.token not in repr(rotation)


@pytest.mark.parametrize("lifetime", [0, -1, timedelta(0), float("nan")])
async def test_refresh_tokens_live_for_a_while(tokens, lifetime):
    with pytest.raises(TokenBuildError):
        RefreshTokens(tokens._authority, tokens._store, lifetime=lifetime)


async def test_a_token_without_a_name_cannot_be_revoked():
    for jti in (None, "", 5):
        with pytest.raises(TokenBuildError, match="jti"):
            InMemoryDenylist().revoke(jti, until=datetime.now(UTC))


async def test_signing_out_ends_the_family(tokens):
    token = await tokens.issue("user-42")
    await tokens.revoke(token)
    with pytest.raises(RefreshUnknownError):
        await tokens.rotate(token)


async def test_a_refresh_token_ends_and_is_forgotten(tokens, clock):
    token = await tokens.issue("user-42")
    clock.advance(1000)
    with pytest.raises(TokenExpiredError):
        await tokens.rotate(token)
    assert len(tokens._store) == 1
    await tokens.issue("another")
    assert len(tokens._store) == 1


async def test_refresh_and_access_tokens_are_not_taken_for_each_other(tokens):
    authority = tokens._authority
    access = authority.token().subject("u").audience(ISSUER).token_id("x").expires_in(60).build()
    with pytest.raises(TokenTypeError):
        await tokens.rotate(access)
    refresh = await tokens.issue("u")
    with pytest.raises(TokenTypeError):
        authority.verify(refresh, audience=ISSUER)
    with pytest.raises(TokenError):
        authority.verify(refresh)


async def test_a_token_without_a_family_is_refused(tokens):
    builder = tokens._authority.token().type("rt+jwt").subject("u").audience(ISSUER)
    with pytest.raises(ClaimMissingError):
        await tokens.rotate(builder.token_id("x").expires_in(60).build())


async def test_a_store_that_cannot_be_asked_refuses(tokens):
    token = await tokens.issue("u")

    async def broken(*args):
        raise ConnectionError

    tokens._store.swap = broken
    with pytest.raises(RevocationUnavailableError):
        await tokens.rotate(token)
