-- Volume by exchange
-- How much of each ticker was traded where, and what part of all of its volume that is.
--
-- Parameters
--   since   time = now-1d  First event time, inclusive.
--   until   time = now     Last event time, exclusive.
--   ticker  text = null    Instrument, as X:BTCUSD; null: all.
--
-- Columns
--   ticker         text     Instrument.
--   exchange       text     Venue.
--   market         text     Market of the venue.
--   volume         decimal  Sum of sizes, in the base currency.
--   turnover       decimal  Sum of price times size, in the quote currency.
--   trades         integer  Number of trades.
--   share_percent  decimal  Part of the ticker's volume, all exchanges and markets, percent.
WITH sums AS (
    SELECT
        ticker,
        exchange,
        market,
        sum(size) AS volume,
        CAST(sum(price * size) AS DECIMAL(38, 10)) AS turnover,
        count(*) AS trades
    FROM crypto_trades
    WHERE event_time >= $since AND event_time < $until
        AND ($ticker IS NULL OR ticker = $ticker)
    GROUP BY ticker, exchange, market
)
SELECT
    ticker,
    exchange,
    market,
    volume,
    turnover,
    trades,
    exact_ratio(
        CAST(volume * 100 AS DECIMAL(38, 20)), sum(volume) OVER (PARTITION BY ticker)
    ) AS share_percent
FROM sums
ORDER BY ticker, volume DESC, exchange, market
