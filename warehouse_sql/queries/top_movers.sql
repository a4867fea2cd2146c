-- Top movers
-- The tickers whose price changed most over a time, up or down, from their first to their last
-- trade in it.
--
-- Parameters
--   since  time = now-1d                 First event time, inclusive.
--   until  time = now                    Last event time, exclusive.
--   limit  integer = 20  in [1, 100000]  Rows at most.
--
-- Columns
--   ticker          text     Instrument.
--   exchange        text     Venue.
--   market          text     Market of the venue.
--   first_price     decimal  Price of the first trade.
--   last_price      decimal  Price of the last trade.
--   change          decimal  Last less first price, in the quote currency.
--   change_percent  decimal  The same in percent of the first price.
--   volume          decimal  Sum of sizes, in the base currency.
WITH ends AS (
    SELECT
        ticker,
        exchange,
        market,
        arg_min(price, ROW(event_time, seq)) AS first_price,
        arg_max(price, ROW(event_time, seq)) AS last_price,
        sum(size) AS volume
    FROM crypto_trades
    WHERE event_time >= $since AND event_time < $until
    GROUP BY ticker, exchange, market
), changes AS (
    SELECT
        ticker,
        exchange,
        market,
        first_price,
        last_price,
        CAST(last_price - first_price AS DECIMAL(28, 10)) AS change,
        exact_ratio(
            CAST((last_price - first_price) * 100 AS DECIMAL(38, 20)), first_price
        ) AS change_percent,
        volume
    FROM ends
)
SELECT * FROM changes
ORDER BY abs(change_percent) DESC, ticker, exchange, market
LIMIT $limit
