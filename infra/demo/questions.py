"""The demonstration's questions, each plain SQL over the union view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lake.clock import Clock, utc_from_us
from lake.views.client import Client

BTC = "X:BTCUSD"
BTC_RECORDED = "X:BTCUSDT"
CANDLES_MAX = 120
CANDLE_S = (1, 5, 15, 60)
"""Widths of a candle; the smallest that gives at most CANDLES_MAX is taken."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and how; rows_shown: the last rows that a person is shown, 0 for all."""

    title: str
    sql: str
    rows_shown: int = 0


@dataclass(frozen=True, slots=True)
class Answered:
    """A question's rows, as tuples in the order of columns, and what it took in milliseconds."""

    question: Question
    columns: list[str]
    rows: list[tuple[Any, ...]]
    ms: float

    def as_json(self) -> dict[str, Any]:
        """Return one JSON-ready document; decimals become texts, so that they stay exact."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        asked = {"title": self.question.title, "sql": self.question.sql}
        return {**asked, "ms": round(self.ms, 1), "rows": rows}


def ask(client: Client, question: Question, clock: Clock) -> Answered:
    """Ask and measure, from the look at the catalog to the last row."""
    start_us = clock.monotonic_us()
    relation = client.sql(question.sql)
    assert relation is not None, "a SELECT has rows"
    rows = relation.fetchall()
    spent_ms = (clock.monotonic_us() - start_us) / 1000
    return Answered(question, list(relation.columns), rows, spent_ms)


def questions(since_us: int, seconds: float, *, recorded: bool) -> list[Question]:
    """Return what to ask of a run; the last are candles: time, o, h, l, c, volume, trades.

    since_us: its start, UTC microseconds, inclusive. recorded: a recording went in as well.
    """
    since = f"event_time >= '{utc_from_us(since_us):%Y-%m-%d %H:%M:%SZ}'"
    return [
        Question("Which tickers moved most?", MOVERS.format(since=since)),
        Question(
            "What did a trade cost, against the quote that stood at that moment?",
            COSTS.format(
                since=f"(t.{since} OR t.ticker = '{BTC_RECORDED}')" if recorded else f"t.{since}"
            ),
        ),
        Question(
            f"Candles of {BTC} over all exchanges, by the {candle_named(seconds)}",
            CANDLES.format(ticker=BTC, since=since, seconds=candle_s(seconds)),
            rows_shown=5,
        ),
    ]


def candle_s(seconds: float) -> int:
    """Return a candle's width in seconds for a run of this length."""
    fit = (width for width in CANDLE_S if seconds / width <= CANDLES_MAX)
    return next(fit, CANDLE_S[-1])


def candle_named(seconds: float) -> str:
    """Return a candle's width in words."""
    width_s = candle_s(seconds)
    return {1: "second", 60: "minute"}.get(width_s, f"{width_s} seconds")


MOVERS = """\
SELECT ticker, count(*) AS trades,
       arg_min(price, seq)::DECIMAL(12, 4) AS first_price,
       arg_max(price, seq)::DECIMAL(12, 4) AS last_price,
       ((last_price / first_price - 1) * 10_000)::DECIMAL(8, 2) AS change_bp,
       sum(price * size)::DECIMAL(18, 2) AS turnover
FROM crypto_trades
WHERE {since}
GROUP BY ticker ORDER BY abs(change_bp) DESC LIMIT 5"""

COSTS = """\
SELECT t.ticker, split_part(t.exchange, ':', 1) AS venue, t.market, count(*) AS trades,
       median((q.ask_price / q.bid_price - 1) * 10_000)::DECIMAL(8, 3) AS spread_bp,
       avg(abs(2 * t.price / (q.bid_price + q.ask_price) - 1) * 10_000)::DECIMAL(8, 3) AS cost_bp
FROM crypto_trades t ASOF JOIN crypto_quotes q
  ON t.ticker = q.ticker AND t.exchange = q.exchange AND t.market = q.market
 AND t.event_time >= q.event_time
WHERE {since}
GROUP BY ALL ORDER BY venue, cost_bp LIMIT 5"""

CANDLES = """\
SELECT strftime(time_bucket(INTERVAL {seconds} SECOND, event_time), '%H:%M:%S') AS time,
       arg_min(price, seq)::DECIMAL(12, 2) AS open, max(price)::DECIMAL(12, 2) AS high,
       min(price)::DECIMAL(12, 2) AS low, arg_max(price, seq)::DECIMAL(12, 2) AS close,
       sum(size)::DECIMAL(12, 4) AS volume, count(*) AS trades
FROM crypto_trades
WHERE ticker = '{ticker}' AND {since}
GROUP BY time ORDER BY min(event_time)"""
