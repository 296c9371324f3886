"""The page of parts with the parts that varco has, and what it never shows of keys."""

import pytest

from varco_resilience import CircuitBreakerRegistry, CircuitState

auth = pytest.importorskip("varco_auth_jwt")
cache = pytest.importorskip("varco_cache")

pytestmark = pytest.mark.anyio
ISSUER = "https://shop.example"
DAY = 86_400.0
ALGORITHMS = ("ES256", "RS256", "HS256", "EdDSA")


class Clock:
    now = 1_000_000.0

    def __call__(self):
        return self.now


async def test_ages_rotations_and_fetches_of_keys_are_shown(shop, tmp_path):
    clock = Clock()

    def made(kid):
        return auth.JwtAuthority.generate(issuer=ISSUER, kid=kid, clock=clock)

    authority = auth.MultiKeyAuthority(made("april"), clock=clock, max_key_age=30 * DAY)
    clock.now += 10 * DAY
    authority.rotate(made("<may>"), overlap=3 * DAY)
    clock.now += DAY
    registry = auth.TrustedIssuerRegistry()
    registry.register(
        "partner", "https://p.example", auth.PemFileSource(tmp_path / "x.pem", "k", "ES256")
    )
    broken = auth.PemFolderSource(tmp_path / "none", algorithm="ES256")
    registry.register("bank", "https://b.example", broken)
    with pytest.raises(auth.AuthJwtError):
        await registry.load("bank")
    ann = type(shop.browser())(type(shop)(keys={"Tokens": authority, "Trusted": registry}).console)
    await ann.get("parts")
    for text in (
        f"{ISSUER} · from this process",
        "Next rotation in 29 d",
        "<may> ES256 sign and verify 24 h –",
        "april ES256 verify 11 d in 2 d",
        "Trusted: partner https://p.example",
        "Fetched never",
        "There are no keys yet.",
        "The last fetch failed.",
    ):
        assert text in ann.text, text
    clock.now += 40 * DAY
    await ann.get("parts")
    assert "overdue by 11 d" in ann.text


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_no_part_of_a_key_is_on_any_page(shop, algorithm):
    key = auth.JwkBuilder.generate(algorithm, kid="the-key")
    authority = auth.JwtAuthority(private_key=key, issuer=ISSUER)
    registry = auth.TrustedIssuerRegistry()
    registry.register_authority(auth.MultiKeyAuthority(authority))
    found = type(shop)(keys={"One": authority, "Trusted": registry})
    ann = type(shop.browser())(found.console)
    members = key.to_dict(include_private=True)
    parts = [members[name] for name in ("n", "x", "y", "d", "k", "p", "q", "dp") if name in members]
    if algorithm != "HS256":
        pem = authority.jwk().to_pem().decode()
        parts += [line for line in pem.splitlines() if len(line) > 20 and "-" not in line]
    assert parts
    for path in (
        "",
        "parts",
        "flow",
        "audit",
        "failures/dead-letters",
        "failures/dead-letters/entries",
    ):
        await ann.get(path)
        assert ann.page.status_code == 200
        for part in parts:
            assert part not in ann.page.text, path
    await ann.get("parts")
    assert "the-key" in ann.text


async def test_breakers_are_isolated_and_closed(shop):
    registry = CircuitBreakerRegistry()
    bank = registry.get("bank")
    ann = type(shop.browser())(type(shop)(breakers=registry).console)
    await ann.get("parts")
    await ann.post("parts/breakers", name="bank", do="isolate")
    assert "bank Isolated" in ann.text
    assert bank.isolated
    assert bank.state is CircuitState.OPEN
    await ann.post("parts/breakers", name="bank", do="open")
    assert not bank.isolated
    assert bank.state is CircuitState.OPEN
    await ann.post("parts/breakers", name="bank", do="close")
    assert bank.state is CircuitState.CLOSED


async def test_what_a_cache_holds_is_counted_and_dropped_by_tag_and_prefix(shop):
    pages = cache.InMemoryCache(max_size=100)
    for number in range(4):
        await pages.set(f"order:{number}", number, tags=["orders"] if number % 2 else ["<odd>"])
    await pages.set("user:1", 1)
    for key in ("order:0", "order:1", "user:1", "none"):
        await pages.get(key)
    ann = type(shop.browser())(type(shop)(caches={"Pages": pages}).console)
    await ann.get("parts")
    for text in ("Hit ratio 75.0 %", "Hits 3", "Misses 1", "Entries 5"):
        assert text in ann.text, text
    await ann.post("parts/caches", name="Pages", by="tag", text="<odd>")
    assert await pages.get("order:0") is None
    assert await pages.get("order:1") == 1
    await ann.post("parts/caches", name="Pages", by="prefix", text="order:")
    assert await pages.get("order:1") is None
    assert await pages.get("user:1") == 1
