-- Largest gaps
-- The longest times without a trade between two trades of a ticker, exchange and market. A
-- quiet market and a lost feed look alike here: `feed_gaps` has what a feed is known to have
-- missed.
--
-- Parameters
--   since   time = now-1d                 First event time, inclusive.
--   until   time = now                    Last event time, exclusive.
--   ticker  text = null                   Instrument, as X:BTCUSD; null: all.
--   limit   integer = 20  in [1, 100000]  Rows at most.
--
-- Columns
--   ticker     text     Instrument.
--   exchange   text     Venue.
--   market     text     Market of the venue.
--   gap_start  time     Event time of the trade before, UTC.
--   gap_end    time     Event time of the trade after.
--   gap_us     integer  Between them, microseconds.
WITH steps AS (
    SELECT
        ticker,
        exchange,
        market,
        lag(event_time) OVER (
            PARTITION BY ticker, exchange, market ORDER BY event_time, seq
        ) AS gap_start,
        event_time AS gap_end
    FROM crypto_trades
    WHERE event_time >= $since AND event_time < $until
        AND ($ticker IS NULL OR ticker = $ticker)
), gaps AS (
    SELECT
        ticker,
        exchange,
        market,
        gap_start,
        gap_end,
        microseconds(gap_end) - microseconds(gap_start) AS gap_us
    FROM steps
    WHERE gap_start IS NOT NULL
)
SELECT * FROM gaps
ORDER BY gap_us DESC, ticker, exchange, market, gap_start
LIMIT $limit
