"""How much was traded, by whom, how fast.

Turnover, trades, buy and sell volume are null in bars that a venue published: so are these then.
"""

from __future__ import annotations

from feature_repo.feature import END_S, Feature
from feature_repo.kernels import (
    Values,
    lagged,
    rolling_deviation,
    rolling_mean,
    rolling_sum,
)

TEXTBOOK = "any textbook"


def volume_zscore_20(volume: Values) -> Values:
    """Return the volume less the mean of 20 bars, in their standard deviations.

    The bar itself is one of the 20, so it lies within 4.36, the root of 19; null if all are alike.
    """
    return (volume - rolling_mean(volume, 20)) / rolling_deviation(volume, 20)


def vwap_distance_20(close: Values, turnover: Values, volume: Values) -> Values:
    """Return how far the close is from the mean price paid in 20 bars, as a share of that."""
    return close / (rolling_sum(turnover, 20) / rolling_sum(volume, 20)) - 1.0


def trade_sign_imbalance_20(buy: Values, sell: Values) -> Values:
    """Return what aggressors bought less what they sold in 20 bars, as a share of both.

    In [-1, 1]; null where no trade has a side.
    """
    bought, sold = rolling_sum(buy, 20), rolling_sum(sell, 20)
    return (bought - sold) / (bought + sold)


def trade_intensity_20(trades: Values, end_s: Values) -> Values:
    """Return trades per second of the last 20 bars, from the end of the bar before them.

    By the time that went by: buckets without trades count as time, and lower it.
    """
    return rolling_sum(trades, 20) / (end_s - lagged(end_s, 20))


VOLUME = (
    Feature(
        "volume_zscore_20",
        1,
        ("volume",),
        20,
        "(v[t] - mean) / deviation of v[t-19..t]",
        TEXTBOOK,
        volume_zscore_20,
    ),
    Feature(
        "vwap_distance_20",
        1,
        ("close", "turnover", "volume"),
        20,
        "c[t] / (sum of turnover / sum of volume over 20 bars) - 1",
        "Berkowitz, Logue and Noser, The Total Cost of Transactions on the NYSE, 1988 (VWAP)",
        vwap_distance_20,
    ),
    Feature(
        "trade_sign_imbalance_20",
        1,
        ("buy_volume", "sell_volume"),
        20,
        "(B - S) / (B + S), B and S the sums of buy_volume and sell_volume over 20 bars",
        "Chordia, Roll and Subrahmanyam, Order Imbalance, Liquidity and Market Returns, 2002",
        trade_sign_imbalance_20,
    ),
    Feature(
        "trade_intensity_20",
        1,
        ("trades", END_S),
        21,
        "sum of trades over 20 bars / (end[t] - end[t-20]) in seconds",
        TEXTBOOK,
        trade_intensity_20,
    ),
)
