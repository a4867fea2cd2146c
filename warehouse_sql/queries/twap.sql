-- Time-weighted average price
-- Mean price of each ticker, exchange and market over a time: a price holds until the next
-- trade, the last one until `until`. What was before the first trade counts nothing.
--
-- Parameters
--   since   time = now-1d  First event time, inclusive.
--   until   time = now     Last event time, exclusive.
--   ticker  text = null    Instrument, as X:BTCUSD; null: all.
--
-- Columns
--   ticker    text     Instrument.
--   exchange  text     Venue.
--   market    text     Market of the venue.
--   twap      decimal  Mean price, weighted by how long it held; null where no time passed.
--   held_us   integer  From the first trade to `until`, microseconds.
--   trades    integer  Number of trades.
WITH held AS (
    SELECT
        ticker,
        exchange,
        market,
        price,
        microseconds(
            lead(event_time, 1, $until) OVER (
                PARTITION BY ticker, exchange, market ORDER BY event_time, seq
            )
        ) - microseconds(event_time) AS held_us
    FROM crypto_trades
    WHERE event_time >= $since AND event_time < $until
        AND ($ticker IS NULL OR ticker = $ticker)
)
SELECT
    ticker,
    exchange,
    market,
    exact_ratio(
        sum(price * CAST(held_us AS DECIMAL(18, 0))), CAST(sum(held_us) AS DECIMAL(18, 0))
    ) AS twap,
    CAST(sum(held_us) AS BIGINT) AS held_us,
    count(*) AS trades
FROM held
GROUP BY ticker, exchange, market
ORDER BY ticker, exchange, market
