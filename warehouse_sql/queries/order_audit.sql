-- Order audit
-- Every event of every order in a time, with what the order had filled by then, and whether its
-- events are whole: numbered 1, 2, 3, and not filled beyond its size.
--
-- Parameters
--   since    time = now-1d  First event time, inclusive; orders are shown from their event there.
--   until    time = now     Last event time, exclusive.
--   account  text = null    One account; null for all.
--
-- Columns
--   account          text     Whose order it is.
--   client_order_id  text     Name of the order within the account.
--   order_id         text     UUID of the order.
--   sequence_number  integer  Place of the event among the order's.
--   event_time       time     When it happened, UTC.
--   event_type       text     What happened.
--   side             text     buy or sell.
--   ticker           text     Instrument.
--   price            decimal  Of the order, or of the fill.
--   size             decimal  Of the order, or of the fill.
--   fee              decimal  Of the fill.
--   filled_so_far    decimal  Sum of its fills up to here, those before the time too.
--   origin           text     event_data of its first event: what it rests on.
--   is_whole         integer  1 where the events so far have no hole and do not overfill, else 0.
WITH counted AS (
    SELECT
        account,
        client_order_id,
        order_id,
        sequence_number,
        event_time,
        event_type,
        side,
        ticker,
        price,
        size,
        fee,
        CAST(
            sum(CASE WHEN event_type IN ('partially_filled', 'filled') THEN size ELSE 0 END)
                OVER (PARTITION BY order_id ORDER BY sequence_number) AS DECIMAL(28, 10)
        ) AS filled_so_far,
        first_value(event_data) OVER (PARTITION BY order_id ORDER BY sequence_number) AS origin,
        count(*) OVER (PARTITION BY order_id ORDER BY sequence_number) AS place,
        max(CASE WHEN event_type IN ('created', 'imported', 'amended') THEN sequence_number END)
            OVER (PARTITION BY order_id ORDER BY sequence_number) AS shaped_at
    FROM order_events
    WHERE event_time < $until AND ($account IS NULL OR account = $account)
)
SELECT
    counted.account,
    counted.client_order_id,
    counted.order_id,
    CAST(counted.sequence_number AS BIGINT) AS sequence_number,
    counted.event_time,
    counted.event_type,
    counted.side,
    counted.ticker,
    counted.price,
    counted.size,
    counted.fee,
    counted.filled_so_far,
    counted.origin,
    CAST(
        CASE WHEN counted.place = counted.sequence_number AND shape.size >= counted.filled_so_far
            THEN 1 ELSE 0 END AS BIGINT
    ) AS is_whole
FROM counted
LEFT JOIN order_events AS shape ON shape.order_id = counted.order_id
    AND shape.sequence_number = counted.shaped_at
WHERE counted.event_time >= $since
ORDER BY counted.account, counted.client_order_id, counted.sequence_number
