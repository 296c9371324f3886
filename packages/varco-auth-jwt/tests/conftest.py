"""Keys, a clock and backends that the tests of this slice share."""

import pytest

from varco_auth_jwt import JsonWebKey
from varco_auth_jwt._native import secret_key

NOW = 1_700_000_000.0


class FakeClock:
    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def secret() -> str:
    return "correct horse battery staple, twice over"


@pytest.fixture
def oct_key(secret: str) -> JsonWebKey:
    return secret_key(secret, kid="shared")
