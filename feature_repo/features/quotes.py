"""How wide the best quotes stand apart, and which side waits with more; of one minute's quotes.

The minute's row has exact decimals (lake/features/quote_minutes.py): those of its last quote, and
sums over all its quotes. Shares of sums need no order of adding, and weigh each quote by its size
or price. A minute without a quote has no row: its last one may no longer stand.
"""

from __future__ import annotations

from feature_repo.feature import Feature
from feature_repo.kernels import Values

SPREADS = "Demsetz, The Cost of Transacting, 1968: the quoted spread"
IMBALANCES = "Cont, Kukanov and Stoikov, The Price Impact of Order Book Events, 2014"

QUOTE_INPUTS = frozenset(
    (
        "last_spread",
        "last_prices",
        "last_size_difference",
        "last_sizes",
        "sum_spread",
        "sum_prices",
        "sum_size_difference",
        "sum_sizes",
        "quotes",
    )
)
"""Inputs that a minute of quotes gives: ask less bid, bid less ask size, and what both add to."""


def spread(last_spread: Values) -> Values:
    """Return the last ask less the last bid, in quote currency; below 0 where they cross."""
    return last_spread


def relative_spread(last_spread: Values, last_prices: Values) -> Values:
    """Return the last spread as a share of the price in its middle."""
    return last_spread / (last_prices / 2.0)


def relative_spread_mean(sum_spread: Values, sum_prices: Values) -> Values:
    """Return the sum of the minute's spreads as a share of that of the prices in their middles."""
    return sum_spread / (sum_prices / 2.0)


def quote_imbalance(last_size_difference: Values, last_sizes: Values) -> Values:
    """Return the last bid's size less the ask's, as a share of both.

    In [-1, 1]; null where neither has a size.
    """
    return last_size_difference / last_sizes


def quote_imbalance_mean(sum_size_difference: Values, sum_sizes: Values) -> Values:
    """Return the minute's bid sizes less its ask sizes, as a share of both.

    In [-1, 1]; null where none has a size.
    """
    return sum_size_difference / sum_sizes


def quote_intensity(quotes: Values) -> Values:
    """Return quotes per second of the minute."""
    return quotes / 60.0


QUOTES = (
    Feature("spread", 1, ("last_spread",), 1, "a - b of the last quote", SPREADS, spread),
    Feature(
        "relative_spread",
        1,
        ("last_spread", "last_prices"),
        1,
        "(a - b) / ((a + b) / 2) of the last quote",
        SPREADS,
        relative_spread,
    ),
    Feature(
        "relative_spread_mean",
        1,
        ("sum_spread", "sum_prices"),
        1,
        "sum of (a - b) / sum of (a + b) / 2 over the minute's quotes",
        SPREADS,
        relative_spread_mean,
    ),
    Feature(
        "quote_imbalance",
        1,
        ("last_size_difference", "last_sizes"),
        1,
        "(B - A) / (B + A), B and A the sizes of the last bid and ask",
        IMBALANCES,
        quote_imbalance,
    ),
    Feature(
        "quote_imbalance_mean",
        1,
        ("sum_size_difference", "sum_sizes"),
        1,
        "sum of (B - A) / sum of (B + A) over the minute's quotes",
        IMBALANCES,
        quote_imbalance_mean,
    ),
    Feature(
        "quote_intensity", 1, ("quotes",), 1, "quotes of the minute / 60", "ours", quote_intensity
    ),
)
