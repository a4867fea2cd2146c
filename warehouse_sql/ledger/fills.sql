-- Fills, of order_events; the same text in PostgreSQL and in DuckDB.
SELECT
    id AS event_id,
    order_id,
    account,
    client_order_id,
    command_id AS fill_id,
    ticker,
    exchange,
    market,
    side,
    price,
    size,
    CAST(price * size AS decimal(28, 10)) AS value,
    fee,
    liquidity,
    event_time
FROM order_events
WHERE event_type IN ('partially_filled', 'filled')
