-- Candles
-- Open, high, low, close and volume of trades, in buckets of any length. A bucket without a
-- trade has no row; one that `since` or `until` cuts has the trades of its part.
--
-- Parameters
--   since     time = now-1d                 First event time, inclusive.
--   until     time = now                    Last event time, exclusive.
--   ticker    text = null                   Instrument, as X:BTCUSD; null: all.
--   interval  duration = 5m  in [1ms, 31d]  Length of a bucket; they count from 1970 in UTC.
--
-- Columns
--   bucket       time     Start of the bucket, inclusive, UTC.
--   ticker       text     Instrument.
--   exchange     text     Venue.
--   market       text     Market of the venue.
--   open         decimal  First price.
--   high         decimal  Highest price.
--   low          decimal  Lowest price.
--   close        decimal  Last price.
--   volume       decimal  Sum of sizes, in the base currency.
--   vwap         decimal  Mean price, weighted by size.
--   trades       integer  Number of trades.
--   buy_volume   decimal  Volume whose aggressor bought.
--   sell_volume  decimal  Volume whose aggressor sold.
SELECT
    bucket(event_time, $interval) AS bucket,
    ticker,
    exchange,
    market,
    arg_min(price, ROW(event_time, seq)) AS open,
    max(price) AS high,
    min(price) AS low,
    arg_max(price, ROW(event_time, seq)) AS close,
    sum(size) AS volume,
    exact_ratio(sum(price * size), sum(size)) AS vwap,
    count(*) AS trades,
    coalesce(sum(size) FILTER (WHERE side = 'buy'), 0) AS buy_volume,
    coalesce(sum(size) FILTER (WHERE side = 'sell'), 0) AS sell_volume
FROM crypto_trades
WHERE event_time >= $since AND event_time < $until
    AND ($ticker IS NULL OR ticker = $ticker)
GROUP BY 1, 2, 3, 4
ORDER BY 1, 2, 3, 4
