-- Realised volatility
-- Root of the sum of squared log returns between the last prices of successive buckets that
-- have a trade, and the same for a year of 365 days. Rounded to 10 places.
--
-- Parameters
--   since     time = now-1d                 First event time, inclusive.
--   until     time = now                    Last event time, exclusive.
--   ticker    text = null                   Instrument, as X:BTCUSD; null: all.
--   interval  duration = 1m  in [1ms, 31d]  Length of a bucket; they count from 1970 in UTC.
--
-- Columns
--   ticker      text     Instrument.
--   exchange    text     Venue.
--   market      text     Market of the venue.
--   returns     integer  Number of returns; series without one are left out.
--   volatility  decimal  Over the returns at hand, 0.01 is one percent.
--   annualised  decimal  Scaled by the root of buckets in a year over returns.
WITH closes AS (
    SELECT
        bucket(event_time, $interval) AS bucket,
        ticker,
        exchange,
        market,
        CAST(arg_max(price, ROW(event_time, seq)) AS DOUBLE) AS price
    FROM crypto_trades
    WHERE event_time >= $since AND event_time < $until
        AND ($ticker IS NULL OR ticker = $ticker)
    GROUP BY 1, 2, 3, 4
), returns AS (
    SELECT
        bucket,
        ticker,
        exchange,
        market,
        ln(price) - ln(
            lag(price) OVER (PARTITION BY ticker, exchange, market ORDER BY bucket)
        ) AS log_return
    FROM closes
)
SELECT
    ticker,
    exchange,
    market,
    count(log_return) AS returns,
    CAST(sqrt(sum(log_return * log_return)) AS DECIMAL(28, 10)) AS volatility,
    CAST(
        sqrt(
            sum(log_return * log_return) / CAST(count(log_return) AS DOUBLE)
            * (CAST(31536000000 AS DOUBLE) / CAST($interval AS DOUBLE))
        ) AS DECIMAL(28, 10)
    ) AS annualised
FROM returns
WHERE log_return IS NOT NULL
GROUP BY ticker, exchange, market
ORDER BY ticker, exchange, market
