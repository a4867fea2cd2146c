-- Latest price
-- The last trade of each ticker, exchange and market, by the venue's clock.
--
-- Parameters
--   since   time = now-1d  First event time, inclusive.
--   until   time = now     Last event time, exclusive.
--   ticker  text = null    Instrument, as X:BTCUSD; null: all.
--
-- Columns
--   ticker      text     Instrument.
--   exchange    text     Venue.
--   market      text     Market of the venue.
--   event_time  time     When that trade happened, UTC.
--   price       decimal  Its price, in the quote currency.
--   size        decimal  Its size, in the base currency.
--   age_us      integer  From that trade to `until`, microseconds.
SELECT
    ticker,
    exchange,
    market,
    max(event_time) AS event_time,
    arg_max(price, ROW(event_time, seq)) AS price,
    arg_max(size, ROW(event_time, seq)) AS size,
    microseconds($until) - microseconds(max(event_time)) AS age_us
FROM crypto_trades
WHERE event_time >= $since AND event_time < $until
    AND ($ticker IS NULL OR ticker = $ticker)
GROUP BY ticker, exchange, market
ORDER BY ticker, exchange, market
