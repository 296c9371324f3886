"""What a commit says of a partition, and what it brings back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varco_kafka._progress import MOST_METADATA, Progress

STEPS = st.lists(
    st.tuples(st.sampled_from(["begun", "done"]), st.integers(0, 60), st.integers(0, 9)),
    max_size=80,
)


@given(STEPS, st.integers(0, 1 << 40))
def test_it_says_what_a_plain_model_says(steps, base):
    progress, done, attempts, known = Progress(base), set(), {}, 0
    for what, at, count in steps:
        done |= set(range(known, at)) if at > known else set()  # a gap: nothing is there
        known = max(known, at + 1)
        if what == "done":
            done.add(at)
            progress.done(base + at)
        else:
            if at not in done:
                attempts[at] = count
            progress.begun(base + at, count)
    assert progress.base - base == next(n for n in range(100) if n not in done)
    assert progress.next - base == known
    again = Progress(progress.base, progress.text())
    for at in range(known):
        assert progress.is_done(base + at) == again.is_done(base + at) == (at in done)
        if at not in done:
            left = attempts.get(at, 0)
            assert progress.attempts(base + at) == again.attempts(base + at) == left


def test_what_is_held_to_be_begun_is_told_and_not_kept():
    progress = Progress(5)
    progress.begun(5, 2)
    again = Progress(progress.base, progress.text(ahead=3))
    assert [again.attempts(n) for n in range(5, 10)] == [2, 1, 1, 1, 0]
    assert again.restored_to == 9
    assert progress.next == 6


@given(st.binary(max_size=9000))
def test_the_text_is_never_longer_than_servers_take(states):
    progress = Progress(0)
    for at, state in enumerate(states):
        if state > 128:
            progress.done(at + 1)
        else:
            progress.begun(at + 1, state)
    assert len(progress.text(64)) <= MOST_METADATA


def test_what_finds_no_room_is_repeated_and_nothing_else():
    import random

    chance = random.Random(1)
    progress = Progress(0)
    progress.begun(0, 1)
    for at in range(1, 8192):
        progress.begun(at, chance.randrange(200))
        if chance.random() < 0.5:
            progress.done(at)
    again = Progress(0, progress.text())
    assert 1000 < again.next < 8192
    assert all(progress.is_done(n) for n in range(8192) if again.is_done(n))


@pytest.mark.parametrize("text", ["", "somebody else's", "v1:", "v1:!!", "v1:AAAA", "v2:eA=="])
def test_a_text_of_somebody_else_says_nothing(text):
    progress = Progress(7, text)
    assert (progress.base, progress.next, progress.attempts(7)) == (7, 7, 0)
