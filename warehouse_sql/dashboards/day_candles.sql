-- Five-minute candles of a day
-- The 5-minute bars of one ticker in the last 24 hours, per exchange and market.
--
-- Parameters
--   until   time = now  The moment to look from; bars that begin later are left out.
--   ticker  text        Instrument, as X:BTCUSD.
--
-- Columns
--   bucket    time     Start of the bar, inclusive, UTC.
--   exchange  text     Venue.
--   market    text     Market of the venue.
--   open      decimal  First price.
--   high      decimal  Highest price.
--   low       decimal  Lowest price.
--   close     decimal  Last price.
--   volume    decimal  Sum of sizes, in the base currency.
--   trades    integer  Number of trades.
SELECT bucket, exchange, market, "open", high, low, "close", volume, trades
FROM market.crypto_agg_5m
WHERE ticker = %(ticker)s
    AND bucket > %(until)s - interval '1 day' AND bucket <= %(until)s
ORDER BY bucket, exchange, market
