-- Positions as they stand, of position_events; the same text in PostgreSQL and in DuckDB.
SELECT
    id AS event_id,
    position_id,
    account,
    ticker,
    exchange,
    market,
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
    event_time AS updated_time
FROM position_events
JOIN (
    SELECT position_id AS of_position, max(id) AS last_id FROM position_events GROUP BY position_id
) AS latest ON latest.last_id = position_events.id
WHERE ticker <> 'cash'
