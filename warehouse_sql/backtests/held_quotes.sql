-- Span of quotes
-- From when to when a venue's quotes lie, of whatever ticker.
--
-- Parameters
--   exchange  text = null  Venue, as binance; null: all.
--   market    text = null  Market of the venue, as spot; null: all.
--
-- Columns
--   first_time  time  Time of the first quote, by the venue; null where there is none.
--   last_time   time  Time of the last quote.
SELECT min(event_time) AS first_time, max(event_time) AS last_time
FROM crypto_quotes
WHERE ($exchange IS NULL OR exchange = $exchange)
    AND ($market IS NULL OR market = $market)
