"""What a rate costs is what the assumptions say, computed here by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from lake.contracts.retention import ORDER_DAYS_MIN, check_retention
from lake.cost.assumptions import default_text, parse, read_assumptions
from lake.cost.model import cost, days_in_tier, gigabytes, levers
from lake.errors import BadInput

GIVEN = parse(default_text())
TRADES_ONLY = GIVEN.changed({"mix": {"crypto_trades": 1.0}})


def test_a_tier_holds_rate_times_bytes_times_days() -> None:
    size = gigabytes(1_000, TRADES_ONLY)
    rows_a_day = 1_000 * 86_400
    row = {tier: GIVEN.value(f"bytes_per_row.{tier}.crypto_trades") for tier in ("hot", "lake")}
    assert size["hot"] == pytest.approx(rows_a_day * 8 * row["hot"] / 1e9)
    assert size["lake"] == pytest.approx(rows_a_day * 730 * row["lake"] * 1.1 / 1e9)
    assert size["archive"] == pytest.approx(rows_a_day * 365 * row["lake"] / 1e9)
    assert size["compressed"] == 0
    assert size["journal"] == pytest.approx(1_000 * 129 * 86_400 / 1e9)


def test_ages_are_the_contract_s() -> None:
    assert days_in_tier("crypto_quotes", "lake", compresses=False) == 90
    assert days_in_tier("crypto_quotes", "archive", compresses=False) == 275
    assert days_in_tier("crypto_quotes", "compressed", compresses=True) == 6
    assert days_in_tier("market_sentiment", "lake", compresses=False) == 3_650


def test_more_events_cost_more_and_none_cost_only_what_is_fixed() -> None:
    totals = [cost(rate, GIVEN).total for rate in (0, 1_000, 10_000, 100_000)]
    assert totals == sorted(totals)
    assert cost(0, GIVEN).gigabytes["lake"] == 0


def test_a_hundred_thousand_events_a_second_come_under_the_budget() -> None:
    pulled = levers(100_000, GIVEN)
    reached = min([cost(100_000, GIVEN).total, *(each.total for each in pulled)])
    assert reached <= GIVEN.value("budget_dollars_month") == 3_000
    dear = GIVEN.changed({"prices.disk_gb_month": 0.16})
    needed = [each for each in levers(100_000, dear) if each.needed]
    assert needed
    assert needed[-1].total <= 3_000 < cost(100_000, dear).total


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("crypto_trades: 0.20", "crypto_trades: 0.30", "shares add up to 1.1"),
        ("crypto_trades: 0.20", "trades: 0.20", "trades is no dataset"),
        ("mix:", "mix: [", "flow"),
    ],
)
def test_assumptions_that_make_no_sense_are_refused_with_the_place(
    old: str, new: str, fault: str
) -> None:
    with pytest.raises(BadInput, match=fault):
        parse(default_text().replace(old, new))


def test_the_home_s_own_assumptions_go_before_ours(tmp_path: Path) -> None:
    text = default_text().replace("budget_dollars_month: 3000", "budget_dollars_month: 7")
    (tmp_path / "cost.yaml").write_text(text)
    assert read_assumptions(tmp_path).value("budget_dollars_month") == 7
    with pytest.raises(BadInput, match=r"prices.gold is None"):
        GIVEN.value("prices.gold")


def test_orders_are_kept_for_six_years_at_least() -> None:
    ages = {"hot": 365, "compressed": 1_095, "lake": 2_000, "archive": ORDER_DAYS_MIN}
    check_retention("order_events", ages)
    check_retention("order_events", {**ages, "archive": None})
    with pytest.raises(BadInput, match="before the six years"):
        check_retention("order_events", {**ages, "archive": ORDER_DAYS_MIN - 1})


def test_a_later_tier_keeps_at_least_as_long() -> None:
    with pytest.raises(BadInput, match="less than"):
        check_retention("crypto_trades", {"hot": 7, "compressed": 30, "lake": 20, "archive": 90})
    with pytest.raises(BadInput, match="hot keeps for good"):
        check_retention("feed_gaps", {"hot": None, "compressed": 30, "lake": 20, "archive": 90})
