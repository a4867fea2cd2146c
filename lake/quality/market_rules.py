"""What looks wrong in a market, as SQL of DuckDB over what is new; each select gives rows at fault.

All of them warn: a crash is no fault of the data, and nothing is dropped for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lake.bars.kernel import WIDTHS_US
from lake.contracts.contract import load
from lake.quality.rule import QualityRule, Severity

JUMP_MAX = 0.20
"""Largest move of a price from the one before, as a part of it."""

Z_MAX = 4
"""Largest distance of a bar's return from the mean of those before, in their deviations."""

VOLUME_TIMES_MAX = 5
"""Largest volume of a bar, in means of those before."""

BACK_BARS = 60
"""Bars before a bar that it is compared with."""

BACK_BARS_MIN = 30
"""With fewer, nothing is said."""

HOLE_BUCKETS_MIN = 5
"""So many buckets without a bar in a row are a gap, where bars came at least every other bucket."""

BACK_TRADES_MIN = 10
"""Minutes before the first new trade in which the trade before it is looked for."""

STALE_FORGET_HOURS = 24
"""A feed that stored nothing for so long has ended; it is stale no more."""

INTERVALS = ("1m", "5m", "1h")
"""Bars that are compared with those before: a second's are too few trades, days too few bars."""

SERIES = "ticker, exchange, market"


@dataclass(frozen=True, slots=True)
class MarketRule:
    """A rule, the relation whose rows it looks at, and the select of those at fault."""

    rule: QualityRule
    checked: str
    select: str


def series_sql(new: str, bars: str, spans: Mapping[str, tuple[int, int]]) -> str:
    """Select new bars and BACK_BARS before them, with what each is compared by.

    spans: interval -> first and last event time of its new bars, inclusive, in microseconds.
    is_new tells which; back_n counts the bars before that are compared with. A return is the
    logarithm of a close over the one before; moved is the largest part by which close, high or low
    lie off the close before; hole counts the buckets since the bar before.
    """
    key = f'{SERIES}, "interval"'
    columns = f'{key}, event_time, high, low, "close", volume'
    before = " ".join(
        f"UNION ALL SELECT {columns}, {WIDTHS_US[name]}, false FROM"
        f" (SELECT * FROM {bars} WHERE \"interval\" = '{name}'"
        f" AND event_time >= from_us({first - 2 * BACK_BARS * WIDTHS_US[name]})"
        f" AND event_time <= from_us({last})) ANTI JOIN {new} AS n USING ({key}, event_time)"
        for name, (first, last) in spans.items()
    )
    widths = " ".join(f"WHEN '{name}' THEN {WIDTHS_US[name]}" for name in INTERVALS)
    window = f"PARTITION BY {key} ORDER BY event_time"
    return f"""
        WITH every AS (
            SELECT {columns}, CASE "interval" {widths} END AS width_us, true AS is_new
            FROM {new} WHERE "interval" IN ({", ".join(f"'{name}'" for name in INTERVALS)})
            {before}),
        followed AS (
            SELECT *, lag("close") OVER w AS close_before, lag(event_time) OVER w AS time_before
            FROM every WINDOW w AS ({window})),
        moves AS (
            SELECT *, CASE WHEN "close" > 0 AND close_before > 0 THEN
                    ln("close"::DOUBLE / close_before::DOUBLE) END AS ret,
                CASE WHEN close_before > 0 THEN greatest(abs("close" - close_before),
                    abs(high - close_before), abs(low - close_before))::DOUBLE
                    / close_before::DOUBLE END AS moved,
                CASE WHEN "close" > 0 THEN (high - low)::DOUBLE / "close"::DOUBLE END AS reach,
                (epoch_us(event_time) - epoch_us(time_before)) // width_us AS hole
            FROM followed)
        SELECT *, count(ret) OVER b AS back_n, avg(ret) OVER b AS ret_mean,
            stddev_samp(ret) OVER b AS ret_dev, avg(volume::DOUBLE) OVER b AS volume_mean,
            avg(reach) OVER b AS reach_mean, avg(hole) OVER b AS hole_mean
        FROM moves
        WINDOW b AS ({window} ROWS BETWEEN {BACK_BARS} PRECEDING AND 1 PRECEDING)"""


def bar_rules(series: str, new: str) -> list[MarketRule]:
    """Return the rules about bars; series is what series_sql gives, as a table."""
    enough = f"is_new AND back_n >= {BACK_BARS_MIN}"
    key = f'{SERIES}, "interval", event_time'
    return [
        MarketRule(
            _rule(
                "bars",
                "return_z_score",
                "accuracy",
                f"A return lies within {Z_MAX} deviations of the {BACK_BARS} before.",
            ),
            new,
            f'SELECT {key}, "close", close_before, (ret - ret_mean) / ret_dev AS z FROM {series}'
            f" WHERE {enough} AND ret_dev > 0 AND abs(ret - ret_mean) > {Z_MAX} * ret_dev",
        ),
        MarketRule(
            _rule(
                "bars",
                "volume_burst",
                "accuracy",
                f"A volume is within {VOLUME_TIMES_MAX} times the mean of the {BACK_BARS} before.",
            ),
            new,
            f"SELECT {key}, volume, volume_mean, volume::DOUBLE / volume_mean AS times"
            f" FROM {series} WHERE {enough} AND volume_mean > 0"
            f" AND volume::DOUBLE > {VOLUME_TIMES_MAX} * volume_mean",
        ),
        MarketRule(
            _rule(
                "bars",
                "price_jump",
                "accuracy",
                f"Close, high and low lie within {JUMP_MAX:.0%} of the close before.",
            ),
            new,
            f'SELECT {key}, high, low, "close", close_before, moved FROM {series}'
            f" WHERE is_new AND moved > {JUMP_MAX}",
        ),
        MarketRule(
            _rule(
                "bars",
                "series_gap",
                "completeness",
                f"A series that has bars lacks fewer than {HOLE_BUCKETS_MIN} in a row.",
                "see feed_gaps for that time; ticklake backfill, where the venue has a history",
            ),
            new,
            f"SELECT {key}, time_before, hole - 1 AS buckets_missing FROM {series}"
            f" WHERE {enough} AND hole > {HOLE_BUCKETS_MIN} AND hole_mean <= 2",
        ),
    ]


def trade_rules(new: str, trades: str, first_us: int) -> list[MarketRule]:
    """Return the rules about trades: new is a table of them from first_us on, trades has all."""
    row = f"{SERIES}, event_time, seq, price, trade_id, shard"
    back_us = first_us - BACK_TRADES_MIN * 60_000_000
    before = (
        f"SELECT {SERIES}, max(event_time), -1, arg_max(price, (event_time, seq)), NULL, 0, false"
        f" FROM {trades} WHERE event_time >= from_us({back_us})"
        f" AND event_time < from_us({first_us}) GROUP BY {SERIES}"
    )
    return [
        MarketRule(
            _rule(
                "crypto_trades",
                "price_jump",
                "accuracy",
                f"A price lies within {JUMP_MAX:.0%} of the trade's before.",
            ),
            new,
            f"SELECT {row}, price_before, (price / price_before - 1)::DOUBLE AS moved FROM ("
            f" SELECT *, lag(price) OVER (PARTITION BY {SERIES} ORDER BY event_time, seq)"
            f" AS price_before FROM (SELECT {row}, true AS is_new FROM {new} UNION ALL {before}))"
            f" WHERE is_new AND price_before > 0"
            f" AND abs(price - price_before) > {JUMP_MAX} * price_before",
        )
    ]


def quote_rules(new: str) -> list[MarketRule]:
    """Return the rules about quotes."""
    row = f"{SERIES}, event_time, bid_price, bid_size, ask_price, ask_size, shard, seq"
    both = "bid_price > 0 AND ask_price > 0"
    return [
        MarketRule(
            _rule("crypto_quotes", "crossed", "consistency", "A bid lies below its ask."),
            new,
            f"SELECT {row} FROM {new} WHERE {both} AND bid_price > ask_price",
        ),
        MarketRule(
            _rule("crypto_quotes", "locked", "consistency", "A bid does not equal its ask."),
            new,
            f"SELECT {row} FROM {new} WHERE {both} AND bid_price = ask_price",
        ),
    ]


def published_rule(
    minutes: str, bars: str, published: str, first_us: int, last_us: int
) -> MarketRule:
    """Return the rule that our minutes are the venue's: the same prices, the volume to 8 digits.

    minutes: table of ticker, venue, market, event_time to compare, all of them from first_us to
    last_us, inclusive. Bars of a venue's exchanges are taken together: it publishes one for all.
    """
    span = f"event_time >= from_us({first_us}) AND event_time <= from_us({last_us})"
    return MarketRule(
        _rule(
            "bars",
            "equals_venue",
            "accuracy",
            "A minute of trades has the prices and the volume that the venue publishes.",
            "trades were missed or come twice: see feed_gaps for that minute, then ticklake verify",
        ),
        minutes,
        f"""WITH ours AS (
            SELECT ticker, venue_of(exchange) AS venue, market, event_time,
                arg_min("open", place(first_time, first_seq)) AS "open", max(high) AS high,
                min(low) AS low, arg_max("close", place(last_time, last_seq)) AS "close",
                sum(volume) AS volume
            FROM {bars} WHERE "interval" = '1m' AND source = 'trades' AND {span} GROUP BY ALL),
        theirs AS (
            SELECT ticker, venue_of(exchange) AS venue, market, event_time, "open", high, low,
                "close", volume
            FROM {published} WHERE "interval" = '1m' AND {span}
            QUALIFY row_number() OVER (PARTITION BY ticker, venue, market, event_time
                ORDER BY seq DESC) = 1)
        SELECT o.*, t."open" AS venue_open, t.high AS venue_high, t.low AS venue_low,
            t."close" AS venue_close, t.volume AS venue_volume
        FROM ours AS o JOIN theirs AS t USING (ticker, venue, market, event_time)
        SEMI JOIN {minutes} AS m USING (ticker, venue, market, event_time)
        WHERE (o."open", o.high, o.low, o."close") <> (t."open", t.high, t.low, t."close")
            OR abs(o.volume - t.volume)::DOUBLE > 1e-8 * t.volume::DOUBLE""",
    )


def stale_rule(now_us: int) -> MarketRule:
    """Return the rule that each feed has stored something within its contract's freshness."""
    minutes = load("crypto_trades").freshness_minutes
    batches = (
        "(SELECT feed, max(committed_time) AS last_stored FROM ingest_batches WHERE stored > 0"
        f" AND committed_time >= from_us({now_us - STALE_FORGET_HOURS * 3_600_000_000})"
        " GROUP BY feed)"
    )
    return MarketRule(
        _rule(
            "ingest_batches",
            "stale_feed",
            "timeliness",
            f"A feed has stored something within {minutes} minutes.",
            "is its ingest running? see: ticklake status",
        ),
        batches,
        f"SELECT feed, last_stored, (from_us({now_us}) - last_stored)::VARCHAR AS silent"
        f" FROM {batches} WHERE last_stored < from_us({now_us}) - INTERVAL {minutes} MINUTE",
    )


def _rule(
    dataset: str,
    name: str,
    dimension: str,
    meaning: str,
    remedy: str = "look at it before it is used; if the market did that, nothing is to be done",
    severity: Severity = "warning",
) -> QualityRule:
    version = load(dataset).version
    return QualityRule(dataset, name, "market", dimension, severity, meaning, remedy, version)
