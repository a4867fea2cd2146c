-- Last price and 24-hour change
-- Every ticker, exchange and market that traded in the last two days: its last price, and how far
-- that is from the last price of a day before, to the minute.
--
-- Parameters
--   until  time = now  The moment to look from; bars that begin later are left out.
--
-- Columns
--   ticker          text     Instrument.
--   exchange        text     Venue.
--   market          text     Market of the venue.
--   minute          time     Minute of the last trade, UTC.
--   price           decimal  Price of the last trade.
--   day_ago         decimal  Last price of 24 hours before; null where there was none.
--   change_percent  decimal  From that to the last price, percent.
WITH series AS (
    SELECT DISTINCT ticker, exchange, market
    FROM market.crypto_agg_1d
    WHERE bucket >= %(until)s - interval '3 days' AND bucket <= %(until)s
)
SELECT
    series.ticker,
    series.exchange,
    series.market,
    last.minute,
    last.price,
    before.price AS day_ago,
    round((last.price - before.price) * 100 / before.price, 10) AS change_percent
FROM series
CROSS JOIN LATERAL (
    SELECT bar.bucket AS minute, bar."close" AS price
    FROM market.crypto_agg_1m AS bar
    WHERE bar.ticker = series.ticker
        AND bar.exchange = series.exchange AND bar.market = series.market
        AND bar.bucket > %(until)s - interval '2 days' AND bar.bucket <= %(until)s
    ORDER BY bar.bucket DESC LIMIT 1
) AS last
LEFT JOIN LATERAL (
    SELECT bar."close" AS price
    FROM market.crypto_agg_1m AS bar
    WHERE bar.ticker = series.ticker
        AND bar.exchange = series.exchange AND bar.market = series.market
        AND bar.bucket > %(until)s - interval '3 days'
        AND bar.bucket <= %(until)s - interval '1 day 1 minute'
    ORDER BY bar.bucket DESC LIMIT 1
) AS before ON true
ORDER BY series.ticker, series.exchange, series.market
