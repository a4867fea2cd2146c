-- Hourly average of thirty days
-- What one ticker cost on average in each hour of the last 30 days, over all exchanges and markets,
-- weighted by size.
--
-- Parameters
--   until   time = now  The moment to look from; hours that begin later are left out.
--   ticker  text        Instrument, as X:BTCUSD.
--
-- Columns
--   hour    time     Start of the hour, inclusive, UTC.
--   price   decimal  Mean price, weighted by size.
--   volume  decimal  Sum of sizes, in the base currency.
SELECT
    bucket AS hour,
    round(sum(turnover) / nullif(sum(volume), 0), 10) AS price,
    sum(volume) AS volume
FROM market.crypto_agg_1h
WHERE ticker = %(ticker)s
    AND bucket > %(until)s - interval '30 days' AND bucket <= %(until)s
GROUP BY bucket
ORDER BY bucket
