-- Data freshness
-- How old the newest row of each dataset, exchange and market is.
--
-- Parameters
--   since  time = now-1d  First event time, inclusive.
--   until  time = now     The moment to count from; rows of then and later are left out.
--
-- Columns
--   dataset        text     Name of the table.
--   exchange       text     Venue.
--   market         text     Market of the venue.
--   event_time     time     Newest by the venue's clock, UTC.
--   received_time  time     Newest by our clock, UTC.
--   age_us         integer  From the newest event to `until`, microseconds.
--   event_rows     integer  Rows with an event time in between.
WITH events AS (
    SELECT
        'crypto_trades' AS dataset, exchange, market, event_time, received_time
    FROM crypto_trades
    WHERE event_time >= $since AND event_time < $until
    UNION ALL
    SELECT
        'crypto_quotes' AS dataset, exchange, market, event_time, received_time
    FROM crypto_quotes
    WHERE event_time >= $since AND event_time < $until
    UNION ALL
    SELECT
        'crypto_aggregates' AS dataset, exchange, market, event_time, received_time
    FROM crypto_aggregates
    WHERE event_time >= $since AND event_time < $until
)
SELECT
    dataset,
    exchange,
    market,
    max(event_time) AS event_time,
    max(received_time) AS received_time,
    microseconds($until) - microseconds(max(event_time)) AS age_us,
    count(*) AS event_rows
FROM events
GROUP BY dataset, exchange, market
ORDER BY dataset, exchange, market
