"""The demonstration's questions, each plain SQL over the union view."""

from __future__ import annotations

from dataclasses import dataclass

CANDLES = """
SELECT strftime(time_bucket(INTERVAL 1 SECOND, event_time), '%H:%M:%S') AS second,
  arg_min(price, seq)::double, max(price)::double, min(price)::double,
  arg_max(price, seq)::double, sum(size)::double
FROM crypto_trades WHERE ticker = 'X:BTCUSD' AND exchange LIKE 'sim:%'
  AND event_time > (SELECT max(event_time) - INTERVAL 60 SECOND FROM crypto_trades
                    WHERE exchange LIKE 'sim:%')
GROUP BY 1 ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and how."""

    title: str
    sql: str


QUESTIONS = (
    Question(
        "Where do the trades lie now? (hot and lake, each trade once)",
        """SELECT exchange, market, count(*) AS trades, count(DISTINCT ticker) AS tickers,
  max(event_time) AS newest
FROM crypto_trades GROUP BY ALL ORDER BY trades DESC LIMIT 6""",
    ),
    Question(
        "One-second bars of BTC, with the volume-weighted price",
        """SELECT time_bucket(INTERVAL 1 SECOND, event_time) AS second,
  arg_min(price, seq)::decimal(9, 2) AS open, max(price)::decimal(9, 2) AS high,
  min(price)::decimal(9, 2) AS low, arg_max(price, seq)::decimal(9, 2) AS close,
  (sum(price * size) / sum(size))::decimal(9, 2) AS vwap, count(*) AS trades
FROM crypto_trades WHERE ticker = 'X:BTCUSD' GROUP BY 1 ORDER BY 1 DESC LIMIT 5""",
    ),
    Question(
        "What did takers pay over the quote that stood at the time? (ASOF join)",
        """SELECT t.ticker, count(*) AS trades,
  round(avg(abs(t.price - (q.bid_price + q.ask_price) / 2) / t.price) * 10000, 3) AS cost_bp
FROM crypto_trades t ASOF JOIN crypto_quotes q
  ON t.ticker = q.ticker AND t.exchange = q.exchange AND t.event_time >= q.event_time
GROUP BY 1 ORDER BY trades DESC LIMIT 5""",
    ),
)
