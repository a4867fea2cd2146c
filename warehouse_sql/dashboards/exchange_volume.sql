-- Volume by exchange
-- What each exchange and market traded in the last 24 hours, by whole hours, the running one
-- included; turnover is summed over tickers of one quote currency or of several alike.
--
-- Parameters
--   until  time = now  The moment to look from; hours that begin later are left out.
--
-- Columns
--   exchange  text     Venue.
--   market    text     Market of the venue.
--   tickers   integer  Tickers that traded there.
--   trades    integer  Number of trades.
--   turnover  decimal  Sum of price times size, in the quote currencies.
WITH series AS (
    SELECT DISTINCT ticker
    FROM market.crypto_agg_1d
    WHERE bucket >= %(until)s - interval '2 days' AND bucket <= %(until)s
)
SELECT
    bars.exchange,
    bars.market,
    count(*) AS tickers,
    sum(bars.trades)::bigint AS trades,
    sum(bars.turnover) AS turnover
FROM series
CROSS JOIN LATERAL (
    SELECT bar.exchange, bar.market, sum(bar.trades) AS trades, sum(bar.turnover) AS turnover
    FROM market.crypto_agg_1h AS bar
    WHERE bar.ticker = series.ticker
        AND bar.bucket > %(until)s - interval '1 day' AND bar.bucket <= %(until)s
    GROUP BY bar.exchange, bar.market
) AS bars
GROUP BY bars.exchange, bars.market
ORDER BY turnover DESC, bars.exchange, bars.market
