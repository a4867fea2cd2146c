-- Volume-weighted average price
-- Mean price of each ticker, exchange and market over a time, weighted by size.
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
--   vwap      decimal  Mean price, weighted by size.
--   volume    decimal  Sum of sizes, in the base currency.
--   turnover  decimal  Sum of price times size, in the quote currency.
--   trades    integer  Number of trades.
SELECT
    ticker,
    exchange,
    market,
    exact_ratio(sum(price * size), sum(size)) AS vwap,
    sum(size) AS volume,
    CAST(sum(price * size) AS DECIMAL(38, 10)) AS turnover,
    count(*) AS trades
FROM crypto_trades
WHERE event_time >= $since AND event_time < $until
    AND ($ticker IS NULL OR ticker = $ticker)
GROUP BY ticker, exchange, market
ORDER BY ticker, exchange, market
