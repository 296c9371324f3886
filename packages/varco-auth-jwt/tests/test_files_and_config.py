"""PEM files and folders, watched; sources of a line of configuration; the environment."""

import pathlib

import anyio
import pytest

from varco_auth_jwt import (
    AuthorityError,
    AuthorizationConfig,
    IssuerConfig,
    IssuerNotFoundError,
    IssuerSource,
    IssuerSourceFactory,
    JwkBuilder,
    JwksUrlSource,
    JwtBuilder,
    KeyLoadError,
    KeysUnavailableError,
    OidcDiscoverySource,
    PemFileSource,
    PemFolderSource,
    SignatureInvalidError,
    TrustedIssuerRegistry,
    UnknownKidError,
)

pytestmark = pytest.mark.anyio

ISSUER = "https://files.example"


def key_pair(kid="k"):
    return JwkBuilder.generate("ES256", kid=kid)


def token_of(key):
    return JwtBuilder(key=key).issuer(ISSUER).subject("u").expires_in(600).build()


def registry_of(source):
    registry = TrustedIssuerRegistry()
    registry.register("files", ISSUER, source)
    return registry


def replace(path, data):
    path.with_suffix(".new").write_bytes(data)
    pathlib.Path(path.with_suffix(".new")).replace(path)


async def test_a_file_is_watched(tmp_path, clock):
    path, one, two = tmp_path / "key.pem", key_pair(), key_pair()
    path.write_bytes(one.to_pem(include_private=True))
    source = PemFileSource(path, "k", "ES256", clock=clock)
    registry = registry_of(source)
    assert (await registry.verify(token_of(one))).sub == "u"
    assert not registry.entry("files").find_key("k").is_private
    same = await source.load()
    clock.advance(2)
    assert await source.load() is same
    replace(path, two.to_pem())
    assert (await registry.verify(token_of(one))).sub == "u"
    clock.advance(1)
    assert (await registry.verify(token_of(two))).sub == "u"
    with pytest.raises(SignatureInvalidError):
        await registry.verify(token_of(one))


async def test_a_file_written_twice_within_one_step_of_the_clock_is_read_again(tmp_path, clock):
    path, one, two = tmp_path / "key.pem", key_pair(), key_pair()
    path.write_bytes(one.to_pem())
    source = PemFileSource(path, "k", "ES256", clock=clock)
    assert (await source.load()).keys[0].x == one.x
    path.write_bytes(two.to_pem())
    stamp = source._stamp()
    source._read = (stamp, source._read[1])  # as if both had been written at the same moment
    clock.advance(1)
    assert (await source.load()).keys[0].x == two.x


@pytest.mark.parametrize("seconds", [-1, float("nan"), "5", None, True, 10**400])
async def test_options_of_a_source_are_seconds(seconds):
    for option in ("cache_ttl", "min_refresh_interval", "max_stale", "timeout"):
        for kind in (JwksUrlSource, OidcDiscoverySource):
            with pytest.raises(AuthorityError, match="must be"):
                kind("https://idp.example", **{option: seconds})
    with pytest.raises(AuthorityError, match="finite"):
        JwksUrlSource("https://idp.example", timeout=0)


async def test_a_file_that_is_gone_takes_its_key_with_it(tmp_path, clock):
    path, key = tmp_path / "key.pem", key_pair()
    path.write_bytes(key.to_pem())
    registry = registry_of(PemFileSource(path, "k", "ES256", clock=clock))
    await registry.verify(token_of(key))
    path.unlink()
    clock.advance(1)
    with pytest.raises(UnknownKidError):
        await registry.verify(token_of(key))


async def test_a_file_half_written_leaves_the_last_key_for_a_minute(tmp_path, clock):
    path, key = tmp_path / "key.pem", key_pair()
    path.write_bytes(key.to_pem())
    registry = registry_of(PemFileSource(path, "k", "ES256", clock=clock))
    await registry.verify(token_of(key))
    path.write_bytes(key.to_pem()[:60])
    clock.advance(30)
    await registry.verify(token_of(key))
    clock.advance(32)
    with pytest.raises(KeysUnavailableError, match="holds no key"):
        await registry.verify(token_of(key))
    path.write_bytes(key.to_pem())
    clock.advance(1)
    await registry.verify(token_of(key))


@pytest.mark.parametrize("content", [b"", b"no key", b"x" * 100_000])
async def test_a_file_without_a_key_lets_nobody_in(tmp_path, content):
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    with pytest.raises(KeysUnavailableError):
        await registry_of(PemFileSource(path, "k", "ES256")).verify(token_of(key_pair()))


async def test_a_folder_is_watched(tmp_path, clock):
    a, b, c = key_pair("a"), key_pair("b"), key_pair("c")
    (tmp_path / "a.pem").write_bytes(a.to_pem())
    (tmp_path / "broken.pem").write_bytes(b"no key")
    (tmp_path / "c.txt").write_bytes(c.to_pem())
    (tmp_path / ".hidden.pem").write_bytes(c.to_pem())
    source = PemFolderSource(tmp_path, algorithm="ES256", clock=clock)
    registry = registry_of(source)
    await registry.verify(token_of(a))
    for key in (b, c):
        with pytest.raises(UnknownKidError):
            await registry.verify(token_of(key))
    (tmp_path / "b.pem").write_bytes(b.to_pem())
    clock.advance(1)
    await registry.verify(token_of(b))
    (tmp_path / "a.pem").unlink()
    clock.advance(1)
    with pytest.raises(UnknownKidError):
        await registry.verify(token_of(a))
    assert [key.kid for key in registry.jwks("files").keys] == ["b"]


async def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(KeysUnavailableError, match="cannot be read"):
        await PemFolderSource(tmp_path / "none", algorithm="ES256").load()


@pytest.mark.parametrize(
    ("value", "kind", "source_id"),
    [
        ("oidc:https://idp.example", OidcDiscoverySource, "https://idp.example"),
        ("jwks:https://idp.example/keys", JwksUrlSource, "https://idp.example/keys"),
        ("https://idp.example/jwks.json", JwksUrlSource, "https://idp.example/jwks.json"),
        (
            "https://idp.example/.well-known/openid-configuration",
            OidcDiscoverySource,
            "https://idp.example",
        ),
        ("pem:/keys/one.pem", PemFileSource, "/keys/one.pem"),
        ("/keys/one.pem", PemFileSource, "/keys/one.pem"),
        ("pem-folder:/keys", PemFolderSource, "/keys"),
    ],
)
async def test_a_line_makes_a_source(value, kind, source_id):
    source = IssuerSourceFactory.from_string(value)
    assert isinstance(source, kind)
    assert isinstance(source, IssuerSource)
    assert source.source_id == source_id


async def test_a_folder_is_known_by_looking(tmp_path):
    assert isinstance(IssuerSourceFactory.from_string(str(tmp_path)), PemFolderSource)
    for value in ("", "oidc:", "http://idp.example/jwks"):
        with pytest.raises(KeyLoadError):
            IssuerSourceFactory.from_string(value)


async def test_the_environment(tmp_path, monkeypatch):
    key = key_pair("one")
    (tmp_path / "one.pem").write_bytes(key.to_pem())
    monkeypatch.setenv("VARCO_ISSUERS", "files, corp")
    monkeypatch.setenv("VARCO_ISSUER_FILES_ISS", ISSUER)
    monkeypatch.setenv("VARCO_ISSUER_FILES_SOURCE", f"pem:{tmp_path}/one.pem")
    monkeypatch.setenv("VARCO_ISSUER_FILES_ALGORITHM", "ES256")
    monkeypatch.setenv("VARCO_ISSUER_CORP_ISS", "https://corp.example")
    monkeypatch.setenv("VARCO_ISSUER_CORP_SOURCE", "oidc:https://corp.example")
    registry = TrustedIssuerRegistry.from_env(leeway=5)
    assert (await registry.verify(token_of(key))).sub == "u"
    assert registry.entry("corp").iss == "https://corp.example"
    config = AuthorizationConfig.from_env()
    assert config.issuers[1] == IssuerConfig(
        "corp", "oidc:https://corp.example", "https://corp.example"
    )
    assert (await config.to_registry().verify(token_of(key))).sub == "u"


@pytest.mark.parametrize(
    ("env", "reason"),
    [
        ({"VARCO_ISSUERS": "a-b"}, "letters"),
        ({"VARCO_ISSUERS": "a"}, "VARCO_ISSUER_A_ISS and VARCO_ISSUER_A_SOURCE"),
        ({"VARCO_ISSUERS": "a", "VARCO_ISSUER_A_ISS": "i"}, "set VARCO_ISSUER_A_SOURCE"),
    ],
)
async def test_an_environment_with_gaps_is_refused(env, reason):
    with pytest.raises(AuthorityError, match=reason):
        AuthorizationConfig.from_env(env)
    assert AuthorizationConfig.from_env({}).issuers == ()


async def test_labels_and_issuers_are_unique(tmp_path):
    registry = registry_of(PemFolderSource(tmp_path, algorithm="ES256"))
    for label, iss in (("files", "x"), ("x", ISSUER)):
        with pytest.raises(AuthorityError, match="already"):
            registry.register(label, iss, PemFolderSource(tmp_path, algorithm="ES256"))
    for label, iss in (("", "x"), ("x", ""), ("x", None)):
        with pytest.raises(AuthorityError, match="are strings"):
            registry.register(label, iss, PemFolderSource(tmp_path, algorithm="ES256"))
    with pytest.raises(AuthorityError, match=r"not of 'https://idp\.example/'"):
        registry.register("idp", "https://idp.example/", OidcDiscoverySource("https://idp.example"))
    with pytest.raises(IssuerNotFoundError) as caught:
        registry.entry("nobody")
    assert caught.value.label == "nobody"


async def test_a_source_that_breaks_is_this_slices_error():
    class Broken:
        source_id = "broken"

        async def load(self):
            raise ZeroDivisionError

        refresh = load

    with pytest.raises(KeyLoadError, match="ZeroDivisionError"):
        await registry_of(Broken()).verify(token_of(key_pair()))


async def test_a_source_that_gives_something_else_stops_nobody():
    class Wrong:
        source_id = "wrong"

        async def load(self):
            looked.set()
            return {"keys": []}

        refresh = renew = load

    looked = anyio.Event()
    registry = registry_of(Wrong())
    async with registry:
        await looked.wait()
        with pytest.raises(KeyLoadError, match="gave dict"):
            await registry.verify(token_of(key_pair()))


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_start_and_stop(tmp_path):
    key = key_pair("one")
    (tmp_path / "one.pem").write_bytes(key.to_pem())
    registry = registry_of(PemFolderSource(tmp_path, algorithm="ES256"))
    await registry.start()
    await registry.start()
    with anyio.fail_after(60):
        while not registry.jwks("files").keys:
            await anyio.sleep(0.001)
    await registry.stop()
    await registry.stop()
