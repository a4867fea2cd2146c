-- Orders as they stand, of order_events; the same text in PostgreSQL and in DuckDB.
WITH found AS (
    SELECT
        order_id,
        max(id) AS last_id,
        max(CASE WHEN event_type <> 'amended' THEN id END) AS state_id,
        max(CASE WHEN event_type IN ('created', 'imported', 'amended') THEN id END) AS shape_id,
        count(CASE WHEN event_type IN ('partially_filled', 'filled') THEN 1 END) AS fills,
        sum(CASE WHEN event_type IN ('partially_filled', 'filled') THEN size END) AS filled_size,
        sum(
            CASE WHEN event_type IN ('partially_filled', 'filled')
                THEN CAST(price * size AS decimal(28, 10)) END
        ) AS filled_value,
        sum(fee) AS fees
    FROM order_events
    GROUP BY order_id
), openings AS (
    SELECT
        *,
        CASE WHEN event_type = 'imported' THEN CAST(event_data AS json) END AS before
    FROM order_events
    WHERE sequence_number = 1
)
SELECT
    latest.id AS event_id,
    opening.order_id,
    opening.account,
    opening.client_order_id,
    opening.ticker,
    opening.exchange,
    opening.market,
    opening.side,
    opening.kind,
    shape.price,
    shape.size,
    CASE WHEN state.event_type = 'imported' THEN (opening.before ->> 'state')
        ELSE state.event_type END AS current_state,
    found.fills,
    CAST(
        coalesce(found.filled_size, 0)
        + coalesce(CAST((opening.before ->> 'filled') AS decimal(28, 10)), 0) AS decimal(28, 10)
    ) AS filled_size,
    CAST(
        coalesce(found.filled_value, 0)
        + coalesce(CAST((opening.before ->> 'filled_value') AS decimal(28, 10)), 0)
        AS decimal(28, 10)
    ) AS filled_value,
    CAST(
        coalesce(found.fees, 0)
        + coalesce(CAST((opening.before ->> 'fees') AS decimal(28, 10)), 0) AS decimal(28, 10)
    ) AS fees,
    latest.sequence_number,
    opening.event_data AS opening_data,
    opening.event_time AS created_time,
    latest.event_time AS updated_time
FROM found
JOIN openings AS opening ON opening.order_id = found.order_id
JOIN order_events AS state ON state.id = found.state_id
JOIN order_events AS shape ON shape.id = found.shape_id
JOIN order_events AS latest ON latest.id = found.last_id
