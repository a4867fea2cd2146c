-- Positions after each change, of position_events; the same text in PostgreSQL and in DuckDB.
SELECT
    id AS event_id,
    position_id,
    account,
    ticker,
    exchange,
    market,
    event_type,
    order_event_id,
    size_after AS size,
    cost_after AS cost,
    price,
    CAST(coalesce(price * size_after, 0) AS decimal(28, 10)) AS value,
    CAST(
        CAST(coalesce(price * size_after, 0) AS decimal(28, 10))
        - CASE WHEN price IS NULL THEN 0 ELSE cost_after END AS decimal(28, 10)
    ) AS unrealised,
    realised_after AS realised,
    fees_after AS fees,
    event_time
FROM position_events
WHERE ticker <> 'cash'
