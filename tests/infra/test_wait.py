"""Waiting for what other processes do: looking must not hold it up."""

from __future__ import annotations

import pytest

from infra.servers.process import POLL_S, REST_S_MAX, wait_until
from lake.clock import ManualClock


class Looks:
    """A condition that takes a while to look at, and never holds."""

    def __init__(self, took_s: float) -> None:
        self.clock, self.took_s = ManualClock(0), took_s
        self.began_s: list[float] = []

    def __call__(self) -> bool:
        self.began_s.append(self.clock.monotonic_us() / 1e6)
        self.clock.sleep(self.took_s)
        return False

    def rests_s(self) -> list[float]:
        pairs = zip(self.began_s, self.began_s[1:], strict=False)
        return [after - before - self.took_s for before, after in pairs]


@pytest.mark.parametrize(("took_s", "rest_s"), [(0.0, POLL_S), (0.2, 0.4), (3.0, REST_S_MAX)])
def test_a_look_is_followed_by_twice_as_long_a_rest_within_bounds(
    took_s: float, rest_s: float
) -> None:
    looks = Looks(took_s)
    assert not wait_until(looks.clock, looks, 20.0)
    *rests, last = looks.rests_s()
    assert rests == pytest.approx([rest_s] * len(rests))
    assert last <= rest_s + 1e-6


def test_the_last_rest_ends_with_the_time_and_is_followed_by_a_look() -> None:
    looks = Looks(0.6)
    assert not wait_until(looks.clock, looks, 1.0)
    assert looks.began_s == pytest.approx([0.0, 1.0])


def test_what_holds_at_once_is_not_waited_for() -> None:
    clock = ManualClock(0)
    assert wait_until(clock, lambda: True, 0.0)
    assert clock.monotonic_us() == 0
