-- Quotes of a backtest
-- Best bids and asks of one ticker, in the order in which they came.
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
--   event_time     time     When it was so, by the venue.
--   received_time  time     When it reached us.
--   bid_price      decimal  Best bid.
--   bid_size       decimal  Size there.
--   ask_price      decimal  Best ask.
--   ask_size       decimal  Size there.
SELECT
    ticker, exchange, market, event_time, received_time, bid_price, bid_size, ask_price, ask_size
FROM crypto_quotes
WHERE ticker = $ticker
    AND ($exchange IS NULL OR exchange = $exchange)
    AND ($market IS NULL OR market = $market)
    AND event_time >= $since AND event_time < $until
    AND bid_price > 0 AND ask_price > bid_price
ORDER BY greatest(event_time, received_time), shard, seq
