"""No wait exceeds max_delay, and no total exceeds the deadline."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varco_resilience import RetryExhaustedError, RetryPolicy, retry, retry_test_mode

POLICIES = 10_000


class Timeline:
    """A clock that waits and calls advance."""

    def __init__(self):
        self.now = 0.0
        self.waits = []

    def wait(self, seconds):
        self.waits.append(seconds)
        self.now += seconds


def a_policy(draw, timeline):
    return RetryPolicy(
        max_attempts=draw.randint(1, 30),
        base_delay=draw.choice([0.0, draw.uniform(0, 2), draw.uniform(0, 200)]),
        max_delay=draw.choice([0.0, draw.uniform(0, 2), draw.uniform(0, 200)]),
        exponential_base=draw.choice([1.0, draw.uniform(1, 4), 1e200]),
        jitter=draw.choice([True, False, "full", "decorrelated"]),
        deadline=draw.choice([None, draw.uniform(0.001, 300)]),
        retry_after=draw.choice([lambda _: None, lambda _: draw.uniform(0, 250)]),
        clock=lambda: timeline.now,
        random=draw.random,
    )


def test_ten_thousand_random_policies():
    draw = random.Random(7)
    reasons = set()
    for _ in range(POLICIES):
        timeline = Timeline()
        policy = a_policy(draw, timeline)
        call_seconds = draw.choice([0.0, draw.uniform(0, 5)])

        def call(timeline=timeline, call_seconds=call_seconds):
            timeline.now += call_seconds
            raise ConnectionError

        with retry_test_mode(on_wait=timeline.wait), pytest.raises(RetryExhaustedError) as caught:
            retry(policy)(call)()
        error = caught.value
        reasons.add(error.reason)
        assert all(0 <= wait <= policy.max_delay for wait in timeline.waits)
        assert timeline.waits == [item.delay for item in error.history[:-1]]
        assert error.attempts == len(error.history) <= policy.max_attempts
        if policy.deadline is not None:
            # The last attempt began before the deadline; a sync call cannot be cut.
            assert timeline.now - call_seconds < policy.deadline or error.attempts == 1
    assert reasons == {"attempts", "deadline", "retry_after"}


numbers = st.floats(0, 1e6)


@given(
    base_delay=numbers,
    max_delay=numbers,
    exponential_base=st.floats(1, 1e300),
    jitter=st.sampled_from([True, False, "full", "decorrelated"]),
    attempt_index=st.integers(0, 10**6),
    previous=st.none() | numbers,
    drawn=st.floats(0, 1, exclude_max=True),
)
def test_a_delay_is_never_longer_than_max_delay(
    base_delay, max_delay, exponential_base, jitter, attempt_index, previous, drawn
):
    policy = RetryPolicy(
        base_delay=base_delay,
        max_delay=max_delay,
        exponential_base=exponential_base,
        jitter=jitter,
        random=lambda: drawn,
    )
    assert 0 <= policy.compute_delay(attempt_index, previous=previous) <= max_delay


def test_the_back_off_grows_up_to_max_delay():
    policy = RetryPolicy(base_delay=1.0, max_delay=10.0, jitter=False)
    assert [policy.compute_delay(i) for i in range(6)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert policy.compute_delay(10_000) == 10.0


def test_full_jitter_spreads_over_the_whole_back_off():
    policy = RetryPolicy(base_delay=8.0, random=random.Random(1).random)
    delays = [policy.compute_delay(0) for _ in range(1000)]
    assert min(delays) < 0.2
    assert max(delays) > 7.8
    assert 3.6 < sum(delays) / 1000 < 4.4


def test_decorrelated_jitter_grows_from_the_wait_before():
    policy = RetryPolicy(base_delay=1.0, jitter="decorrelated", random=lambda: 0.999999)
    assert policy.compute_delay(0) == pytest.approx(3.0, abs=0.01)
    assert policy.compute_delay(1) == pytest.approx(9.0, abs=0.01)
    assert policy.compute_delay(1, previous=2.0) == pytest.approx(6.0, abs=0.01)
