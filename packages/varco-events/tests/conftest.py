"""What the tests of this slice share."""

import pytest


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return request.param


class Clock:
    """A time that passes when it is told to."""

    def __init__(self):
        from datetime import UTC, datetime

        self.start = datetime(2030, 1, 1, tzinfo=UTC)
        self.seconds = 0.0

    def __call__(self):
        from datetime import timedelta

        return self.start + timedelta(seconds=self.seconds)

    def monotonic(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()
