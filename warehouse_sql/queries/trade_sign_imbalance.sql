-- Trade-sign imbalance
-- Who pressed: volume whose aggressor bought against volume whose aggressor sold, per bucket.
-- Trades of unknown side count in neither.
--
-- Parameters
--   since     time = now-1d                 First event time, inclusive.
--   until     time = now                    Last event time, exclusive.
--   ticker    text = null                   Instrument, as X:BTCUSD; null: all.
--   interval  duration = 1h  in [1ms, 31d]  Length of a bucket; they count from 1970 in UTC.
--
-- Columns
--   bucket       time     Start of the bucket, inclusive, UTC.
--   ticker       text     Instrument.
--   exchange     text     Venue.
--   market       text     Market of the venue.
--   buy_volume   decimal  Volume whose aggressor bought, in the base currency.
--   sell_volume  decimal  Volume whose aggressor sold.
--   imbalance    decimal  Their difference over their sum, -1 to 1.
--   buys         integer  Trades whose aggressor bought.
--   sells        integer  Trades whose aggressor sold.
WITH sides AS (
    SELECT
        bucket(event_time, $interval) AS bucket,
        ticker,
        exchange,
        market,
        coalesce(sum(size) FILTER (WHERE side = 'buy'), 0) AS buy_volume,
        coalesce(sum(size) FILTER (WHERE side = 'sell'), 0) AS sell_volume,
        count(*) FILTER (WHERE side = 'buy') AS buys,
        count(*) FILTER (WHERE side = 'sell') AS sells
    FROM crypto_trades
    WHERE event_time >= $since AND event_time < $until
        AND ($ticker IS NULL OR ticker = $ticker)
        AND side IN ('buy', 'sell')
    GROUP BY 1, 2, 3, 4
)
SELECT
    bucket,
    ticker,
    exchange,
    market,
    buy_volume,
    sell_volume,
    exact_ratio(
        CAST(buy_volume - sell_volume AS DECIMAL(38, 20)), buy_volume + sell_volume
    ) AS imbalance,
    buys,
    sells
FROM sides
ORDER BY 1, 2, 3, 4
