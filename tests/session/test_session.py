"""A session's decisions are a function of its rows and words, and those of a backtest."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.ledger.commands import Change, Place
from feature_repo.trading.market import Event
from feature_repo.trading.order import Fill
from feature_repo.trading.simulation import Arrived, Simulation
from serving.live.once import Once
from serving.risk.prices import is_sound
from serving.risk.refusals import COMMAND
from serving.session.minutes import GRACE_US, Minutes
from serving.session.models import NoModels
from serving.session.orders import Orders, first_difference
from serving.session.outs_to_commands import Commands
from serving.session.plan import Plan, plan_of_words, start_of
from serving.session.rows_to_events import events_of
from serving.session.session import Decided, Out, Session
from serving.session.warm import NOTHING
from serving.session.words import Word, as_they_hold, joined, kept, left_out
from tests.session.market import FEED, MINUTE_US, NOON_US, PLAN, Market, market, start

WORDS = (
    Word("tick", 60, NOON_US + 10 * MINUTE_US + GRACE_US),
    Word("kill", 120, 0),
    Word("free", 150, 0),
    Word("late", 180, 0),
    Word("on_time", 200, 0),
)


def session_of(
    found: Market, cuts: list[int], words: tuple[Word, ...] = (), ahead_us: int | None = None
) -> list[Out]:
    """Return what a session says of a market that is cut at these places, and at its words.

    ahead_us: by how much the clock goes on at each cut, and the next close is made ready.
    """
    once, outs, at = Once(exact=True), [], 0
    places = sorted({*cuts, *(word.frame for word in words), len(found.raw)})
    with Session(start()) as session:
        for place in places:
            if place > at:
                session.take(once.take([(FEED, found.frames(at, place))]).tables)
                at = place
            if ahead_us is not None:
                session.prepare(session.clock_us + ahead_us)
            for word in words:
                if word.frame == place:
                    session.word(word)
            outs += session.drain()
    return outs


@given(st.integers(0, 10**6), st.lists(st.integers(1, 299), max_size=12), st.booleans())
@settings(max_examples=15, deadline=None)
def test_any_pieces_give_the_same_decisions(seed: int, cuts: list[int], told: bool) -> None:
    words = WORDS if told else ()
    whole = session_of(market(seed), [], words)
    assert session_of(market(seed), cuts, words) == whole


@given(
    st.integers(0, 10**6),
    st.lists(st.integers(1, 299), min_size=3, max_size=40),
    st.integers(0, 70_000_000),
)
@settings(max_examples=15, deadline=None)
def test_closes_made_ready_ahead_give_the_same_decisions(
    seed: int, cuts: list[int], ahead_us: int
) -> None:
    whole = session_of(market(seed), [], WORDS)
    assert session_of(market(seed), cuts, WORDS, ahead_us) == whole


def test_there_is_something_to_decide_and_a_price_that_jumped_is_refused() -> None:
    outs = session_of(market(5), [])
    kinds = {type(each.said) for each in outs}
    assert {Decided, Arrived, Fill} <= kinds
    assert {each.account for each in outs} == set(PLAN.strategies)
    assert any(type(each.said) is Decided and "spike: " in each.said.refusal for each in outs)


@pytest.mark.parametrize("seed", range(3))
def test_it_decides_as_a_backtest_of_the_same_events(seed: int) -> None:
    """Without limits that a backtest has not: the orders are those of the plain simulation."""
    found = market(seed)
    tables = Once(exact=True).take([(FEED, found.frames())]).tables
    events: list[Event] = []
    known = events_of(tables, NOON_US, 0)
    with Minutes(NOTHING.at(NOON_US), NoModels(), rows=False) as minutes:
        at = 0
        for i, event in enumerate(known.events):
            if event.available_us >= minutes.due_us:
                seqs = known.trades["seq"].to_numpy()
                upto = int((seqs < known.seq[i]).sum())
                minutes.take(known.trades.slice(at, upto - at))
                at = upto
                events += minutes.closed(event.available_us)
            if not hasattr(event, "bid") or is_sound(event):  # type: ignore[arg-type]
                events.append(event)
    plan = Plan({"moving-average-cross": {"fast": "1", "slow": "2"}}, PLAN.cash, PLAN.costs)
    (strategy,) = plan.made()
    record = Simulation(strategy, cash=plan.cash, costs=plan.costs, by="quotes").run(events)
    limits = dict.fromkeys(("collar", "spike", "price_age_us", "orders", "duplicate_us"))
    free = start(plan).document()
    free["limits"] |= limits
    with Session(start_of("s", free)) as session:
        session.take(tables)
        outs = session.drain()
    placed = [(o.said.order, o.said.placed_us) for o in outs if isinstance(o.said, Decided)]
    assert placed == [(each.order, each.placed_us) for each in record.orders]
    assert placed
    fills = [each.said for each in outs if isinstance(each.said, Fill)]
    assert fills == [each.fill for each in record.fills]


def test_a_start_is_what_its_document_says() -> None:
    made = start()
    assert start_of(made.session, made.document()) == made
    before = made.document()
    del before["limits"]["spike"], before["share"], before["openings"]["buy-and-hold"]["elsewhere"]
    again = start_of("s", before)
    assert again.plan.limits.spike is None  # decided again as it was
    assert (again.plan.share, again.openings) == (1_000_000, made.openings)


def test_nothing_is_ordered_while_killed_or_late_and_a_kill_takes_all_back() -> None:
    for seed in range(5):
        outs = session_of(market(seed), [], WORDS)
        for each in outs:
            if isinstance(each.said, Decided):
                assert not 120 < each.frame <= 150
                assert not 180 < each.frame <= 200


def test_words_beyond_what_was_on_the_disk_hold_there() -> None:
    words = [
        Word("tick", 10, 1),
        Word("left_out", 11, 1, {"frames": [[12, 14], [16, 20]]}),
        Word("kill", 21, 1),
        Word("open", 13, 2),
        Word("late", 15, 3),
        Word("open", 18, 4),
    ]
    held = as_they_hold(words)
    assert [each.frame for each in held] == [10, 11, 13, 13, 15, 18]
    assert left_out(held) == [(12, 13)]


@given(st.lists(st.integers(1, 400), min_size=2, max_size=60, unique=True))
def test_what_is_kept_and_what_is_left_out_are_all(numbers: list[int]) -> None:
    ends = sorted(numbers)[: len(numbers) // 2 * 2]
    ranges = list(zip(ends[::2], ends[1::2], strict=True))
    out = {n for a, b in ranges for n in range(a, b + 1)}
    left = {n for a, b in kept(1, 400, ranges) for n in range(a, b + 1)}
    assert left == set(range(1, 401)) - out
    many = [(n, n) for n in range(1, 9_000, 2)]
    covering = joined(many)
    assert len(covering) <= 1_000
    assert all(any(a <= n <= b for a, b in covering) for n, _ in random.sample(many, 50))


def test_what_a_limit_refuses_is_in_the_ledger_as_a_refusal_by_hand_is() -> None:
    plan = Plan({"buy-and-hold": {"size": "4"}}, PLAN.cash, PLAN.costs, PLAN.limits)
    with Session(start(plan)) as session:
        session.take(Once(exact=True).take([(FEED, market(3).frames())]).tables)
        outs = session.drain()
    created, refused = Commands(session.start).of(outs[0])
    assert isinstance(created, Place)
    assert isinstance(refused, Change)
    assert (refused.event_type, refused.command_id) == ("rejected", COMMAND)
    assert refused.reason.startswith("size: ")
    assert "(measured 40000000000, limit 30000000000)" in refused.reason


def test_a_difference_is_named() -> None:
    one, other = Orders(), Orders()
    outs = session_of(market(3), [])
    one.take(outs)
    other.take(outs)
    assert first_difference(one, other) is None
    assert one.digest() == other.digest()
    other.take([next(each for each in outs if isinstance(each.said, Fill))])
    assert first_difference(one, other) is not None


def test_strategies_are_told_in_words() -> None:
    assert plan_of_words(("moving-average-cross:fast=3,slow=9", "buy-and-hold")) == {
        "moving-average-cross": {"fast": "3", "slow": "9"},
        "buy-and-hold": {},
    }
