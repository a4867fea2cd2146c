-- Correlations
-- Pearson's correlation of log returns between every two tickers of a market, over the buckets
-- in which both have one. Rounded to 8 places.
--
-- Parameters
--   since     time = now-1d                 First event time, inclusive.
--   until     time = now                    Last event time, exclusive.
--   exchange  text = null                   Venue, as binance; null: all, each by itself.
--   interval  duration = 5m  in [1ms, 31d]  Length of a bucket; they count from 1970 in UTC.
--
-- Columns
--   exchange     text     Venue.
--   market       text     Market of the venue.
--   ticker       text     First instrument, the lesser by name.
--   other        text     Second instrument.
--   buckets      integer  Buckets with a return of both; pairs with fewer than 3 are left out.
--   correlation  decimal  -1 to 1; null where one of them never moved.
WITH closes AS (
    SELECT
        bucket(event_time, $interval) AS bucket,
        ticker,
        exchange,
        market,
        CAST(arg_max(price, ROW(event_time, seq)) AS DOUBLE) AS price
    FROM crypto_trades
    WHERE event_time >= $since AND event_time < $until
        AND ($exchange IS NULL OR exchange = $exchange)
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
    a.exchange,
    a.market,
    a.ticker,
    b.ticker AS other,
    count(*) AS buckets,
    CASE
        WHEN min(a.log_return) < max(a.log_return) AND min(b.log_return) < max(b.log_return)
            THEN CAST(corr(a.log_return, b.log_return) AS DECIMAL(18, 8))
    END AS correlation
FROM returns AS a
JOIN returns AS b
    ON b.exchange = a.exchange AND b.market = a.market
    AND b.bucket = a.bucket AND b.ticker > a.ticker
WHERE a.log_return IS NOT NULL AND b.log_return IS NOT NULL
GROUP BY 1, 2, 3, 4
HAVING count(*) >= 3
ORDER BY 1, 2, 3, 4
