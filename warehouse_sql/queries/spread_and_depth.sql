-- Spread and depth
-- The best bid and ask of each ticker, exchange and market over a time: how far apart, how
-- much stands there, and to which side it leans. Each quote counts once, however long it
-- stood; one with an empty side is left out.
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
--   quotes         integer  Number of quotes with both sides.
--   mean_spread    decimal  Mean of ask less bid, in the quote currency.
--   min_spread     decimal  Smallest of them; negative where the book was crossed.
--   max_spread     decimal  Largest of them.
--   spread_bp      decimal  Mean spread over mean middle price, basis points.
--   mean_bid_size  decimal  Mean amount at the best bid, in the base currency.
--   mean_ask_size  decimal  Mean amount at the best ask, in the base currency.
--   imbalance      decimal  Bid less ask size over their sum, -1 to 1; null where both are 0.
--   crossed        integer  Number of quotes whose bid was not below their ask.
SELECT
    ticker,
    exchange,
    market,
    count(*) AS quotes,
    exact_ratio(sum(ask_price - bid_price), CAST(count(*) AS DECIMAL(18, 0))) AS mean_spread,
    CAST(min(ask_price - bid_price) AS DECIMAL(28, 10)) AS min_spread,
    CAST(max(ask_price - bid_price) AS DECIMAL(28, 10)) AS max_spread,
    exact_ratio(
        CAST(sum(ask_price - bid_price) * 20000 AS DECIMAL(38, 20)), sum(ask_price + bid_price)
    ) AS spread_bp,
    exact_ratio(sum(bid_size), CAST(count(*) AS DECIMAL(18, 0))) AS mean_bid_size,
    exact_ratio(sum(ask_size), CAST(count(*) AS DECIMAL(18, 0))) AS mean_ask_size,
    exact_ratio(
        CAST(sum(bid_size) - sum(ask_size) AS DECIMAL(38, 20)), sum(bid_size) + sum(ask_size)
    ) AS imbalance,
    count(*) FILTER (WHERE bid_price >= ask_price) AS crossed
FROM crypto_quotes
WHERE event_time >= $since AND event_time < $until
    AND ($ticker IS NULL OR ticker = $ticker)
    AND bid_price > 0 AND ask_price > 0
GROUP BY ticker, exchange, market
ORDER BY ticker, exchange, market
