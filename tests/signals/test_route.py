"""Issue 7, part 3: who decides is a pure function; shares, stickiness and floors hold."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.trading.market import Instrument
from lake.errors import BadInput
from serving.signals.route import (
    BANDIT,
    CANARY,
    CHALLENGER,
    CHAMPION,
    EXPERIMENT,
    REQUEST,
    Outcomes,
    Route,
    part,
    route_of,
    routed,
)

MINUTE_US = 60_000_000
MANY = [Instrument(f"X:C{n}USD", "sim", "spot") for n in range(4_000)]
NOTHING = {CHAMPION: Outcomes(), CHALLENGER: Outcomes()}
SHARES = st.floats(0, 1, allow_nan=False)
INSTRUMENTS = st.builds(Instrument, *[st.text(max_size=12)] * 3)
COUNTS = st.builds(Outcomes, st.integers(0, 10**6), st.integers(0, 10**6))


def share(route: Route, model: str = "direction", **of: Outcomes) -> float:
    """Return the challenger's part of MANY."""
    said = [routed(route, model, each, MINUTE_US, of or NOTHING) for each in MANY]
    return said.count(CHALLENGER) / len(said)


@given(SHARES, st.sampled_from([CANARY, EXPERIMENT]), st.text(min_size=1, max_size=20))
def test_the_share_is_what_was_asked_for(wanted: float, kind: str, name: str) -> None:
    # five standard errors of a share of 4,000
    assert abs(share(Route(kind, wanted, experiment=name)) - wanted) <= 5 * 0.5 / 4_000**0.5


@given(SHARES, SHARES, INSTRUMENTS, st.integers(0, 2**40))
def test_a_canary_that_grows_keeps_whom_it_had(a: float, b: float, one: Instrument, t: int) -> None:
    small, large = sorted((a, b))
    if routed(Route(CANARY, small), "direction", one, t, NOTHING) == CHALLENGER:
        assert routed(Route(CANARY, large), "direction", one, t, NOTHING) == CHALLENGER
    assert routed(Route(CANARY, 0.0), "direction", one, t, NOTHING) == CHAMPION
    assert routed(Route(CANARY, 1.0), "direction", one, t, NOTHING) == CHALLENGER


@given(INSTRUMENTS, SHARES, st.lists(st.integers(0, 2**50), min_size=2), COUNTS)
def test_an_experiment_is_sticky(
    one: Instrument, wanted: float, times: list[int], c: Outcomes
) -> None:
    route = Route(EXPERIMENT, wanted, experiment="spring")
    found = {routed(route, "direction", one, t, {CHALLENGER: c}) for t in times}
    assert len(found) == 1


def test_experiments_of_other_names_are_dealt_anew() -> None:
    a, b = (Route(EXPERIMENT, 0.5, experiment=name) for name in ("spring", "summer"))
    same = [routed(a, "m", i, 0, NOTHING) == routed(b, "m", i, 0, NOTHING) for i in MANY]
    assert 0.45 < sum(same) / len(same) < 0.55


def test_a_canary_by_request_moves_from_minute_to_minute() -> None:
    route = Route(CANARY, 0.5, by=REQUEST)
    said = {routed(route, "m", MANY[0], n * MINUTE_US, NOTHING) for n in range(50)}
    assert said == {CHAMPION, CHALLENGER}


@given(st.floats(0, 0.5), st.integers(0, 2**53 - 1), COUNTS, COUNTS)
def test_a_bandit_leaves_each_arm_its_floor(
    floor: float, seed: int, a: Outcomes, b: Outcomes
) -> None:
    found = share(Route(BANDIT, floor=floor, seed=seed), **{CHAMPION: a, CHALLENGER: b})
    slack = 5 * 0.5 / 4_000**0.5
    assert floor - slack <= found <= 1 - floor + slack


@given(INSTRUMENTS, st.integers(0, 2**53 - 1), COUNTS, COUNTS)
def test_a_bandit_s_draw_is_made_again(
    one: Instrument, seed: int, a: Outcomes, b: Outcomes
) -> None:
    route, of = Route(BANDIT, seed=seed), {CHAMPION: a, CHALLENGER: b}
    assert len({routed(route, "direction", one, 60, of) for _ in range(3)}) == 1
    assert routed(route, "direction", one, 60, {CHAMPION: a}) == CHAMPION  # no challenger
    assert routed(route, "direction", one, 60, {}) == CHAMPION


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("better", [CHAMPION, CHALLENGER])
def test_a_bandit_goes_over_to_the_better_arm(seed: int, better: str) -> None:
    rates = {CHAMPION: 0.50, CHALLENGER: 0.50, better: 0.58}
    chance = random.Random(seed)
    counts = {CHAMPION: [0, 0], CHALLENGER: [0, 0]}
    route = Route(BANDIT, by=REQUEST, floor=0.1, seed=seed)
    late: list[str] = []
    for n in range(3_000):
        of = {role: Outcomes(*each) for role, each in counts.items()}
        role = routed(route, "direction", MANY[n % 50], n * MINUTE_US, of)
        for each, rate in rates.items():  # all arms are scored beside each other
            counts[each][chance.random() >= rate] += 1
        if n >= 2_000:
            late.append(role)
    assert late.count(better) / len(late) > 0.8
    assert late.count(better) / len(late) < 0.97  # the floor stays


@given(st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
def test_words_are_told_apart(a: list[str], b: list[str]) -> None:
    assert 0 <= part(*a) < 1
    assert (part(*a) == part(*b)) == (a == b)


ROUTES = st.builds(
    Route,
    st.sampled_from([CHAMPION, CANARY, BANDIT]),
    SHARES,
    st.sampled_from(["instrument", "request"]),
    st.text(max_size=50),
    st.floats(0, 0.5),
    st.integers(0, 2**53 - 1),
)


@given(ROUTES)
def test_a_route_is_read_as_it_was_written(route: Route) -> None:
    assert route_of(route.text()) == route
    assert route.words()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"kind": "luck"}',
        '{"kind": "canary", "share": 1.5}',
        '{"kind": "canary", "share": NaN}',
        '{"kind": "canary", "share": "0.5"}',
        '{"kind": "ab", "share": 0.5}',
        '{"kind": "ab", "experiment": "x", "by": "request"}',
        '{"kind": "bandit", "floor": 0.6}',
        '{"kind": "bandit", "seed": -1}',
        '{"kind": "bandit", "seed": true}',
        '{"kind": "champion", "more": 1}',
    ],
)
def test_what_is_no_route_is_one_sentence(text: str) -> None:
    with pytest.raises(BadInput, match=r"^route: .*ticklake models route"):
        route_of(text)
