-- Trades of a backtest
-- Trades of one ticker, in the order in which they came.
--
-- Parameters
--   ticker    text         Instrument, as X:BTCUSD.
--   exchange  text = null  Venue, as binance; null: all, each an instrument of its own.
--   market    text = null  Market of the venue, as spot; null: all.
--   since     time         First event time, inclusive.
--   until     time         Last event time, exclusive.
--
-- Columns
--   ticker         text     Instrument.
--   exchange       text     Venue.
--   market         text     Market of the venue.
--   event_time     time     When it was done, by the venue.
--   received_time  time     When it reached us.
--   price          decimal  Price.
--   size           decimal  Amount.
SELECT ticker, exchange, market, event_time, received_time, price, size
FROM crypto_trades
WHERE ticker = $ticker
    AND ($exchange IS NULL OR exchange = $exchange)
    AND ($market IS NULL OR market = $market)
    AND event_time >= $since AND event_time < $until
ORDER BY greatest(event_time, received_time), shard, seq
