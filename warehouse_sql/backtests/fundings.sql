-- Funding of a backtest
-- Funding rates of one ticker, in the order in which they are due.
--
-- Parameters
--   ticker    text         Instrument, as X:BTCUSDT.
--   exchange  text = null  Venue, as binance; null: all, each an instrument of its own.
--   market    text = null  Market of the venue, as usdm; null: all.
--   since     time         First time, inclusive.
--   until     time         Last time, exclusive.
--
-- Columns
--   ticker      text     Instrument.
--   exchange    text     Venue.
--   market      text     Market of the venue.
--   event_time  time     When it is due.
--   rate        decimal  Share of the position's value that who is long pays.
SELECT ticker, exchange, market, event_time, rate
FROM funding_rates
WHERE ticker = $ticker
    AND ($exchange IS NULL OR exchange = $exchange)
    AND ($market IS NULL OR market = $market)
    AND event_time >= $since AND event_time < $until
ORDER BY event_time, exchange, market, row_no
