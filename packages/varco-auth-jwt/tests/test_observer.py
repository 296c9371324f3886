"""Observers of verification and of the fetching of keys."""

from contextlib import contextmanager

import pytest

from varco_auth_jwt import (
    JsonWebKeySet,
    JwkBuilder,
    JwtAuthority,
    JwtParser,
    KeyLoadError,
    MultiKeyAuthority,
    TokenError,
    TokenObserver,
    TrustedIssuerRegistry,
    add_token_observer,
    remove_token_observer,
)
from varco_auth_jwt._keycache import KeyCache

pytestmark = pytest.mark.anyio

VERIFIERS = (JwtParser, JwtAuthority, MultiKeyAuthority, TrustedIssuerRegistry)


class Spy(TokenObserver):
    def __init__(self):
        self.told = []

    @contextmanager
    def _around(self, name):
        self.told.append(name)
        try:
            yield
        except Exception as error:
            self.told.append(type(error).__name__)
            raise

    def verifying(self, verifier):
        return self._around(type(verifier).__name__)

    def fetching(self, source):
        return self._around(source)


@pytest.fixture
def spy():
    spy = Spy()
    before = [vars(cls)["verify"] for cls in VERIFIERS]
    add_token_observer(spy)
    add_token_observer(spy)
    yield spy
    remove_token_observer(spy)
    remove_token_observer(spy)
    assert [vars(cls)["verify"] for cls in VERIFIERS] == before


async def test_every_verifier_is_watched(spy):
    key = JwkBuilder.generate("EdDSA", kid="a")
    authority = JwtAuthority(private_key=key, issuer="https://me")
    token = authority.token().subject("ann").expires_in(60).build()
    registry = TrustedIssuerRegistry()
    registry.register_authority(authority)
    assert authority.verify(token).sub == "ann"
    assert MultiKeyAuthority(authority).verify(token).sub == "ann"
    assert (await registry.verify(token)).sub == "ann"
    assert JwtParser(key=authority.jwk(), issuer="https://me").parse(token).sub == "ann"
    verifiers = [name for name in spy.told if name[0].isupper()]
    assert verifiers == ["JwtAuthority", "MultiKeyAuthority", "TrustedIssuerRegistry", "JwtParser"]


def test_a_refusal_comes_through(spy):
    with pytest.raises(TokenError):
        JwtParser(secret="s" * 32).parse("x.y.z")
    assert spy.told == ["JwtParser", "TokenMalformedError"]


async def test_fetches_are_watched_and_not_reads_from_memory(spy):
    answers = [JsonWebKeySet(()), KeyLoadError("down")]

    async def fetch():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    keys = KeyCache(fetch, name="https://keys", ttl=60, cooldown=0, max_stale=60)
    await keys.load()
    await keys.load()
    assert spy.told == ["https://keys"]
    await keys.refresh()
    assert spy.told == ["https://keys", "https://keys", "KeyLoadError"]
