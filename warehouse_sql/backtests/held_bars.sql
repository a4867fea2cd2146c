-- Span of bars
-- From when to when a venue's bars of an interval lie, of whatever ticker.
--
-- Parameters
--   exchange  text = null  Venue, as binance; null: all.
--   market    text = null  Market of the venue, as spot; null: all.
--   width     text = 1m    Interval: 1s, 1m, 5m, 1h or 1d.
--
-- Columns
--   first_time  time  Start of the first bar; null where there is none.
--   last_time   time  Start of the last bar.
SELECT min(event_time) AS first_time, max(event_time) AS last_time
FROM bars
WHERE ($exchange IS NULL OR exchange = $exchange)
    AND ($market IS NULL OR market = $market)
    AND "interval" = $width
