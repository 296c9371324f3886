"""What is told of keys: names, ages, fetches; and never a key."""

import dataclasses
import json

import pytest

from varco_auth_jwt import (
    AuthorityError,
    JsonWebKeySet,
    JwkBuilder,
    JwtAuthority,
    KeysUnavailableError,
    MultiKeyAuthority,
    PemFileSource,
    TrustedIssuerRegistry,
)
from varco_auth_jwt._keycache import KeyCache

pytestmark = pytest.mark.anyio
ISSUER = "https://me.example"
DAY = 86_400.0


class Clock:
    now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def made(clock, kid, **options):
    return JwtAuthority.generate(issuer=ISSUER, kid=kid, clock=clock, **options)


def test_an_authority_tells_how_old_its_key_is(clock):
    authority = made(clock, "may")
    clock.now += DAY
    state = authority.state()
    (key,) = state.keys
    assert (state.issuer, state.label, state.fetch, state.rotation_due_in) == (
        ISSUER,
        ISSUER,
        None,
        None,
    )
    assert (key.kid, key.algorithm, key.signs, key.age) == ("may", "ES256", True, DAY)


def test_a_key_that_nobody_said_the_age_of_has_none(clock):
    key = JwkBuilder.generate("ES256", kid="old")
    assert JwtAuthority(private_key=key, issuer=ISSUER, clock=clock).state().keys[0].age is None
    dated = JwtAuthority(private_key=key, issuer=ISSUER, clock=clock, made_at=clock.now - 5)
    assert dated.state().keys[0].age == 5


def test_it_is_told_when_a_rotation_is_due_and_when_old_keys_end(clock):
    authority = MultiKeyAuthority(made(clock, "april"), clock=clock, max_key_age=30 * DAY)
    clock.now += 29 * DAY
    assert authority.state().rotation_due_in == DAY
    clock.now += 2 * DAY
    assert authority.state().rotation_due_in == -DAY
    authority.rotate(made(clock, "may"), overlap=3600)
    clock.now += 600
    state = authority.state()
    assert [(one.kid, one.signs, one.ends_in) for one in state.keys] == [
        ("may", True, None),
        ("april", False, 3000.0),
    ]
    assert state.rotation_due_in == 30 * DAY - 600
    clock.now += 3000
    assert [one.kid for one in authority.state().keys] == ["may"]


def test_without_an_age_the_time_since_it_began_to_sign_counts(clock):
    key = JwkBuilder.generate("ES256", kid="old")
    one = JwtAuthority(private_key=key, issuer=ISSUER, clock=clock)
    authority = MultiKeyAuthority(one, clock=clock, max_key_age=DAY)
    clock.now += 600
    assert authority.state().rotation_due_in == DAY - 600
    with pytest.raises(AuthorityError, match="max_key_age"):
        MultiKeyAuthority(one, max_key_age=0)


async def test_a_fetch_is_told_with_its_error(clock):
    keys, away = JsonWebKeySet(), False

    async def fetch():
        if away:
            raise OSError("the secret name of a host")
        return keys

    cache = KeyCache(fetch, name="x", ttl=100, cooldown=10, max_stale=50, clock=clock)
    assert (cache.state().ago, cache.state().next_in) == (None, 0.0)
    await cache.load()
    clock.now += 30
    assert (cache.state().ago, cache.state().next_in, cache.state().error) == (30, 50, None)
    away = True
    clock.now += 90
    await cache.load()
    state = cache.state()
    assert (state.ago, state.next_in, state.error) == (120, 10, "OSError was raised")
    clock.now += 100
    with pytest.raises(KeysUnavailableError):
        await cache.load()


async def test_a_registry_tells_of_all_of_its_issuers(clock, tmp_path):
    file = tmp_path / "key.pem"
    registry = TrustedIssuerRegistry(clock=clock)
    registry.register("partner", "https://p.example", PemFileSource(file, "one", "ES256"))
    registry.register_authority(MultiKeyAuthority(made(clock, "may"), clock=clock), label="us")
    partner, us = registry.states()
    assert (partner.label, partner.source, partner.keys) == ("partner", str(file), ())
    assert partner.fetch.ago is None
    assert (us.label, us.issuer, us.keys[0].kid) == ("us", ISSUER, "may")
    file.write_bytes(JwkBuilder.generate("ES256").to_pem())
    await registry.load("partner")
    partner, _ = registry.states()
    assert [one.kid for one in partner.keys] == ["one"]
    assert partner.fetch.ago is not None


def test_no_part_of_a_key_is_told(clock):
    for algorithm in ("ES256", "RS256", "HS256", "EdDSA"):
        key = JwkBuilder.generate(algorithm, kid="k")
        authority = MultiKeyAuthority(JwtAuthority(private_key=key, issuer=ISSUER))
        told = json.dumps(dataclasses.asdict(authority.state()))
        parts = key.to_dict(include_private=True)
        secrets = [
            parts[name] for name in ("n", "e", "x", "y", "d", "k", "p", "q") if name in parts
        ]
        assert secrets
        for one in secrets:
            assert len(one) < 6 or one not in told  # "e" is AQAB, which is no secret
