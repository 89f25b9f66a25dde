"""What a process takes on at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pubworks.worker import bite


class Clock:
    """Stands for ``time``."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now

    def fail_after(self, seconds: float) -> None:
        """Let time pass, and fail."""
        self.now += seconds
        raise TimeoutError


@given(most=st.integers(1, 50), call_s=st.floats(0, 1e4))
def test_calls_taken_on_at_once_last_two_seconds_at_most_or_are_one(most: int, call_s: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(bite, "time", clock)
        one = bite.Bite(most, 2.0)
        assert one.size() == 1
        with one.call():
            clock.now += call_s
        took = clock.now - 1000.0
        size = one.size()
    assert 1 <= size <= most
    assert size == 1 or size * took <= 2.0
    assert size == most or (size + 1) * took > 2.0


def test_a_call_that_fails_counts() -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(bite, "time", clock)
        one = bite.Bite(8, 2.0)
        with pytest.raises(TimeoutError), one.call():
            clock.fail_after(30.0)
        assert one.size() == 1


def test_one_slow_call_among_many_counts_for_a_while() -> None:
    one = bite.Bite(8, 2.0)
    sizes = []
    for seconds in (0.1, 0.1, 10.0, *[0.1] * 12):
        one.note(seconds)
        sizes.append(one.size())
    assert sizes[:3] == [8, 8, 1]
    assert sizes[3:] == sorted(sizes[3:])
    assert sizes[-1] == 8
