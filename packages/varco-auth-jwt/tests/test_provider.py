"""An identity provider on real sockets: load, rotation, attack and misbehaviour."""

import logging

import anyio
import pytest

from varco_auth_jwt import (
    IssuerRefusedError,
    JsonWebKey,
    JwkBuilder,
    JwksUrlSource,
    JwtAuthority,
    JwtBuilder,
    KeyLoadError,
    KeysUnavailableError,
    MultiKeyAuthority,
    OidcDiscoverySource,
    SignatureInvalidError,
    TrustedIssuerRegistry,
    UnknownKidError,
)
from varco_auth_jwt._codec import b64encode, json_bytes
from varco_auth_jwt._keycache import KeyCache

pytestmark = pytest.mark.anyio

LIFE = 10**9


class Stage:
    """An issuer that publishes at the provider, and a registry that trusts it."""

    def __init__(self, provider, clock, kind=JwksUrlSource, **options):
        self.provider = provider
        self.clock = clock
        self.authority = MultiKeyAuthority(JwtAuthority.generate(issuer=provider.url, kid="first"))
        self.publish()
        where = provider.url if kind is OidcDiscoverySource else f"{provider.url}/jwks"
        # The limit is one for tests that mean it: a busy machine may take its time.
        self.source = kind(where, clock=clock, **{"timeout": 60.0} | options)
        self.registry = TrustedIssuerRegistry()
        self.registry.register("idp", provider.url, self.source)

    def publish(self):
        self.provider.publish(*self.authority.jwks().keys)

    def rotate(self, kid="second"):
        self.authority.rotate(JwtAuthority.generate(issuer=self.provider.url, kid=kid))
        self.publish()

    def token(self, sub="user-42"):
        return self.authority.token().subject(sub).expires_in(LIFE).build()

    async def verify(self, token=None):
        return await self.registry.verify(token or self.token())

    async def verify_many(self, tokens):
        verified = []

        async def one(token):
            verified.append(await self.registry.verify(token))

        async with anyio.create_task_group() as tasks:
            for token in tokens:
                tasks.start_soon(one, token)
        return verified

    @property
    def fetches(self):
        return self.provider.hits["/jwks"]


@pytest.fixture
def stage(provider, clock):
    return Stage(provider, clock)


@pytest.mark.parametrize("kind", [JwksUrlSource, OidcDiscoverySource])
async def test_a_thousand_at_cold_start_make_one_fetch(provider, clock, kind):
    stage = Stage(provider, clock, kind)
    verified = await stage.verify_many([stage.token(str(n)) for n in range(1000)])
    assert {token.sub for token in verified} == {str(n) for n in range(1000)}
    assert stage.fetches == 1


@pytest.mark.parametrize("kind", [JwksUrlSource, OidcDiscoverySource])
async def test_a_thousand_at_rotation_make_one_fetch_and_no_failure(provider, clock, kind):
    stage = Stage(provider, clock, kind)
    await stage.verify()
    old = [stage.token() for _ in range(500)]
    stage.rotate()
    new = [stage.token() for _ in range(500)]
    mixed = [token for pair in zip(old, new, strict=True) for token in pair]
    assert len(await stage.verify_many(mixed)) == 1000
    assert stage.fetches == 2


async def test_known_keys_are_not_blocked_by_a_fetch(stage):
    await stage.verify()
    known = stage.token()
    stage.rotate()
    unknown = stage.token()
    stage.provider.gate.clear()
    stage.provider.reached.clear()
    done = []

    async def verify_unknown():
        done.append(await stage.verify(unknown))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(verify_unknown)
        await anyio.to_thread.run_sync(stage.provider.reached.wait)
        for _ in range(100):
            await stage.verify(known)
        assert not done
        stage.provider.gate.set()
    assert len(done) == 1


async def test_refresh_ahead_of_expiry_blocks_nobody_but_who_leads_it(stage):
    await stage.verify()
    token = stage.token()
    stage.clock.advance(3600 * 0.9)
    stage.provider.gate.clear()
    stage.provider.reached.clear()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stage.verify, token)
        await anyio.to_thread.run_sync(stage.provider.reached.wait)
        for _ in range(100):
            await stage.verify(token)
        stage.provider.gate.set()
    assert stage.fetches == 2
    assert not stage.source.is_stale


async def test_a_running_registry_refreshes_ahead_by_itself(stage):
    async with stage.registry:
        with anyio.fail_after(60):
            while not stage.fetches:
                await anyio.sleep(0.001)
            assert (await stage.verify()).sub == "user-42"
    assert stage.fetches == 1


async def test_while_a_keeper_renews_no_caller_fetches(clock):
    keys, asked = JwkBuilder.keyset(JwkBuilder.generate("ES256")), []

    async def fetch():
        asked.append(clock.now)
        if len(asked) > 1:
            raise ConnectionError
        return keys

    cache = KeyCache(fetch, name="x", ttl=100, cooldown=2, max_stale=50, clock=clock)
    await cache.renew()
    for step, fetches in ((59, 1), (1, 2), (1, 2), (1, 3)):
        clock.advance(step)
        await cache.renew()
        assert len(asked) == fetches
    clock.advance(20)
    await cache.renew()
    clock.advance(4)
    assert await cache.load() is keys
    assert len(asked) == 4
    clock.advance(1)  # and a keeper that is gone is not waited for
    assert await cache.load() is keys
    assert len(asked) == 5
    clock.advance(61)
    await cache.renew()
    clock.advance(2)
    for ask in (cache.load, cache.refresh):
        with pytest.raises(KeysUnavailableError):
            await ask()


async def test_one_source_that_hangs_keeps_no_other_from_its_turn(stage):
    stage.provider.gate.clear()
    other = JwtAuthority.generate(issuer="https://other.example")
    looked = anyio.Event()

    class Source:
        source_id = "other"

        async def load(self):
            if stage.provider.reached.is_set():
                looked.set()
            return other.jwks()

        refresh = load

    stage.registry.register("other", "https://other.example", Source())
    async with stage.registry:
        with anyio.fail_after(60):
            await looked.wait()
    assert stage.fetches == 1


async def test_a_running_registry_passes_on_what_its_body_raises(stage):
    with pytest.raises(ValueError, match="the body"):
        async with stage.registry:
            raise ValueError("the body")


def token_with(kid, token):
    """The token with another `kid` in its header, which its signature does not cover."""
    header = b64encode(json_bytes({"alg": "ES256"} | ({"kid": kid} if kid else {}))).decode()
    return ".".join([header, *token.split(".")[1:]])


async def test_ten_thousand_unknown_kids_make_one_fetch_per_cooldown(stage):
    token = stage.token()
    await stage.verify(token)
    for window in range(4):
        for n in range(2500):
            with pytest.raises(UnknownKidError):
                await stage.verify(token_with(f"x{window}-{n}", token))
        assert stage.fetches == 2 + window
        stage.clock.advance(10)


async def test_forged_signatures_make_one_fetch_per_cooldown(stage):
    token = stage.token()
    await stage.verify(token)
    forged = [token_with(kid, token) for kid in ("first", None)] + [token[:-8] + "AAAAAAAA"]
    for window in range(3):
        for bad in forged * 20:
            with pytest.raises(SignatureInvalidError):
                await stage.verify(bad)
        assert stage.fetches == 2 + window
        await stage.verify(token)
        stage.clock.advance(10)


@pytest.mark.parametrize("kid", ["same", None])
@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
async def test_a_rotation_under_the_same_name_or_none_is_picked_up(stage, kid, algorithm):
    for alg in ("ES256", algorithm):
        key = JwkBuilder.generate(alg, kid=kid)
        named = JsonWebKey.from_dict({**key.to_dict(include_private=True), "kid": kid})
        stage.provider.publish(named)
        token = JwtBuilder(key=named).issuer(stage.provider.url).expires_in(LIFE).build()
        assert (await stage.verify(token)).iss == stage.provider.url
    assert stage.fetches == 2


async def test_concurrent_unknown_kids_make_one_fetch(stage):
    await stage.verify()
    refused = []
    key = JwkBuilder.generate("ES256")

    async def attack(n):
        stranger = JwtAuthority(private_key=key, issuer=stage.provider.url, kid=f"x{n}")
        with pytest.raises(UnknownKidError):
            await stage.verify(stranger.token().expires_in(LIFE).build())
        refused.append(n)

    async with anyio.create_task_group() as tasks:
        for n in range(300):
            tasks.start_soon(attack, n)
    assert len(refused) == 300
    assert stage.fetches == 2


async def test_a_genuine_rotation_is_picked_up_under_attack(stage):
    await stage.verify()
    stranger = JwtAuthority.generate(issuer=stage.provider.url, kid="x")
    attack = stranger.token().expires_in(LIFE).build()
    with pytest.raises(UnknownKidError):
        await stage.verify(attack)
    stage.rotate()
    with pytest.raises(UnknownKidError):
        await stage.verify()
    stage.clock.advance(10)
    assert (await stage.verify()).sub == "user-42"
    with pytest.raises(UnknownKidError):
        await stage.verify(attack)
    assert stage.fetches == 3


async def test_a_rotation_right_after_the_first_fetch_is_picked_up_at_once(stage):
    await stage.verify()
    stage.rotate()
    assert (await stage.verify()).sub == "user-42"


async def test_a_rotation_to_another_algorithm_is_picked_up(stage):
    await stage.verify()
    new = JwtAuthority.generate(issuer=stage.provider.url, kid="new", algorithm="EdDSA")
    stage.authority.rotate(new)
    stage.publish()
    assert (await stage.verify()).sub == "user-42"


async def test_a_revoked_key_is_gone_by_ttl(stage):
    token = stage.token()
    await stage.verify(token)
    stage.rotate()
    stage.authority.retire("first")
    stage.publish()
    stage.clock.advance(3599 * 0.79)
    await stage.verify(token)
    stage.clock.advance(3600)
    with pytest.raises(UnknownKidError):
        await stage.verify(token)


MISBEHAVIOUR = ["500", "404", "204", "huge", "gzip", "not json", "html", "no keys"]


@pytest.mark.parametrize("mode", [*MISBEHAVIOUR, "redirect:http://127.0.0.2:1/jwks"])
async def test_a_provider_that_misbehaves_is_survived_for_a_while(provider, clock, mode):
    stage = Stage(provider, clock, max_stale=100.0)
    token = stage.token()
    await stage.verify(token)
    provider.mode = mode
    clock.advance(3600)
    await stage.verify(token)
    assert stage.fetches == 2
    for _ in range(50):
        await stage.verify(token)
    assert stage.fetches == 2
    clock.advance(99)
    await stage.verify(token)
    clock.advance(2)
    for _ in range(3):
        with pytest.raises(KeysUnavailableError) as caught:
            await stage.verify(token)
        assert caught.value.http_status == 503
    provider.mode = "ok"
    clock.advance(10)
    assert (await stage.verify(token)).sub == "user-42"


@pytest.mark.parametrize("mode", MISBEHAVIOUR)
async def test_a_provider_that_misbehaves_from_the_start_lets_nobody_in(provider, clock, mode):
    stage = Stage(provider, clock)
    provider.mode = mode
    for _ in range(20):
        with pytest.raises(KeysUnavailableError):
            await stage.verify()
    assert stage.fetches == 1
    provider.mode = "ok"
    clock.advance(10)
    assert (await stage.verify()).sub == "user-42"


async def test_a_hundred_megabytes_are_not_read(provider, clock):
    stage = Stage(provider, clock)
    provider.mode = "huge"
    with pytest.raises(KeysUnavailableError, match="more than 524288 bytes"):
        await stage.verify()
    assert provider.sent < 20 * 2**20


async def test_a_provider_that_hangs_is_given_up(provider, clock):
    stage = Stage(provider, clock, timeout=0.2)
    provider.gate.clear()
    with pytest.raises(KeysUnavailableError, match=r"no answer within 0\.2 seconds"):
        await stage.verify()
    with pytest.raises(KeysUnavailableError):
        await stage.verify()
    # On a busy machine the time may be over before the request is out.
    assert stage.fetches <= 1


async def test_a_provider_that_stops_half_way_is_given_up(provider, clock):
    stage = Stage(provider, clock, timeout=0.2)
    provider.mode = "half"
    with pytest.raises(KeysUnavailableError):
        await stage.verify()
    assert stage.fetches <= 1


@pytest.mark.parametrize(
    "jwks_uri", ["http://idp.example/jwks", "file:///etc/passwd", 5, ["https://idp.example/"], "x"]
)
async def test_discovery_leads_to_https_only(provider, clock, jwks_uri):
    stage = Stage(provider, clock, OidcDiscoverySource)
    provider.jwks_uri = jwks_uri
    with pytest.raises(KeysUnavailableError):
        await stage.verify()
    assert stage.fetches == 0


async def test_redirects_stay_within_the_origin(provider, clock):
    stage = Stage(provider, clock)
    provider.mode = "redirect-once"
    assert (await stage.verify()).sub == "user-42"
    assert provider.hits == {"/jwks": 1, "/moved": 1}
    for target in (
        "http://localhost.example/jwks",
        "file:///etc/passwd",
        "http://127.0.0.1:1/jwks",
    ):
        provider.mode = f"redirect:{target}"
        stage = Stage(provider, clock)
        provider.mode = f"redirect:{target}"
        with pytest.raises(KeysUnavailableError, match="another origin"):
            await stage.verify()
    stage = Stage(provider, clock)
    provider.mode = "redirect:/jwks"
    with pytest.raises(KeysUnavailableError, match="more than 3 times"):
        await stage.verify()


async def test_a_provider_that_changes_its_issuer_is_refused(provider, clock):
    stage = Stage(provider, clock, OidcDiscoverySource, max_stale=100.0)
    token = stage.token()
    await stage.verify(token)
    provider.issuer = "https://evil.example"
    clock.advance(3600)
    await stage.verify(token)
    clock.advance(101)
    with pytest.raises(KeysUnavailableError, match="evil"):
        await stage.verify(token)


async def test_a_provider_that_is_gone(provider, clock):
    stage = Stage(provider, clock)
    await stage.verify()
    token = stage.token()
    provider._server.server_close()
    clock.advance(3600)
    await stage.verify(token)
    clock.advance(3601)
    with pytest.raises(KeysUnavailableError, match="Connect"):
        await stage.verify(token)


@pytest.mark.parametrize("mode", ["plain", "bytes", "binary"])
async def test_key_sets_of_file_servers_and_object_stores_are_read(stage, mode):
    stage.provider.mode = mode
    assert (await stage.verify()).sub == "user-42"


async def test_dangerous_keys_of_a_set_are_refused_and_the_others_work(provider, clock, caplog):
    from cryptography.hazmat.primitives.asymmetric import rsa
    from joserfc.jwk import RSAKey

    stage = Stage(provider, clock)
    secret = JwkBuilder.from_secret("a secret that everybody can read, on the web", kid="oct")
    private = JwkBuilder.generate("ES256", kid="private")
    weak = rsa.generate_private_key(65537, 1024)
    provider.keys += [
        secret.to_dict(include_private=True),
        private.to_dict(include_private=True),
        {**RSAKey(weak, weak).as_dict(private=False), "kid": "weak"},
        {**JwkBuilder.generate("ES256", kid="enc").to_dict(), "use": "enc"},
        {"kty": "AKP", "kid": "post-quantum", "pub": "AAAA"},
        "no key at all",
    ]
    with caplog.at_level(logging.INFO, "varco_auth_jwt"):
        assert (await stage.verify()).sub == "user-42"
    for reason in ("symmetric", "private", "1024 bits", "not for signatures", "unknown", "no JSON"):
        assert reason in caplog.text
    from varco_auth_jwt import AlgorithmRefusedError, JwtBuilder, TokenError

    for key in (secret, private):
        token = JwtBuilder(key=key).issuer(provider.url).expires_in(LIFE).build()
        with pytest.raises(TokenError) as caught:
            await stage.verify(token)
        assert isinstance(caught.value, AlgorithmRefusedError | UnknownKidError)


async def test_a_cancelled_leader_does_not_take_the_others_with_it(stage):
    stage.provider.gate.clear()
    verified = []

    scope = anyio.CancelScope()

    async def lead():
        with scope:
            await stage.verify()

    async def follow():
        verified.append(await stage.verify())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lead)
        await anyio.to_thread.run_sync(stage.provider.reached.wait)
        for _ in range(10):
            tasks.start_soon(follow)
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
        stage.provider.gate.set()
    assert scope.cancelled_caught
    assert len(verified) == 10
    assert stage.fetches == 2


async def test_the_same_kid_at_two_issuers_and_no_key_for_another_issuer(provider, clock):
    stage = Stage(provider, clock)
    other = JwtAuthority.generate(issuer="https://other.example", kid="first")
    stage.registry.register_authority(other)
    assert (await stage.verify()).iss == provider.url
    theirs = other.token().subject("x").expires_in(60).build()
    assert (await stage.verify(theirs)).iss == "https://other.example"
    claiming = JwtAuthority.generate(issuer=provider.url, kid="first")
    with pytest.raises(SignatureInvalidError):
        await stage.verify(claiming.token().expires_in(60).build())
    from varco_auth_jwt import JwtBuilder

    untrusted = JwtBuilder("x" * 32).issuer("https://nobody.example").expires_in(60).build()
    for token in (untrusted, JwtBuilder("x" * 32).expires_in(60).build()):
        with pytest.raises(IssuerRefusedError):
            await stage.verify(token)
    assert await stage.registry.get_key("idp", "first") != await stage.registry.get_key(
        "https://other.example", "first"
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://idp.example/jwks",
        "http://localhost.example/jwks",
        "http://127.0.0.1.example/jwks",
        "http://10.0.0.1/jwks",
        "ftp://127.0.0.1/jwks",
        "file:///etc/passwd",
        "https://user:password@idp.example/jwks",
        "https:///jwks",
        "//idp.example/jwks",
        "idp.example",
        "http://[::2]/",
        "http://[",
        "https://idp.example:99999/",
        "",
    ],
)
@pytest.mark.parametrize("kind", [JwksUrlSource, OidcDiscoverySource])
async def test_keys_come_by_https_only(url, kind):
    with pytest.raises(KeyLoadError):
        kind(url)


@pytest.mark.parametrize(
    "url", ["https://idp.example/jwks", "http://localhost:1/", "http://[::1]/", "http://127.8.9.1/"]
)
async def test_https_and_this_machine_are_fine(url):
    assert JwksUrlSource(url).source_id == url
