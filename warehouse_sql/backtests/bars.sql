-- Bars of a backtest
-- Bars of one ticker and interval, in the order in which they end.
--
-- Parameters
--   ticker    text         Instrument, as X:BTCUSD.
--   exchange  text = null  Venue, as binance; null: all, each an instrument of its own.
--   market    text = null  Market of the venue, as spot; null: all.
--   width     text = 1m    Interval: 1s, 1m, 5m, 1h or 1d.
--   since     time         First start of a bar, inclusive.
--   until     time         Last start of a bar, exclusive.
--
-- Columns
--   ticker         text     Instrument.
--   exchange       text     Venue.
--   market         text     Market of the venue.
--   event_time     time     Start of the bar, inclusive.
--   received_time  time     When the last frame that it is made of reached us.
--   open           decimal  First price.
--   high           decimal  Highest price.
--   low            decimal  Lowest price.
--   close          decimal  Last price.
--   volume         decimal  Amount traded.
SELECT ticker, exchange, market, event_time, received_time, open, high, low, close, volume
FROM bars
WHERE ticker = $ticker
    AND ($exchange IS NULL OR exchange = $exchange)
    AND ($market IS NULL OR market = $market)
    AND "interval" = $width
    AND event_time >= $since AND event_time < $until
ORDER BY event_time, exchange, market
