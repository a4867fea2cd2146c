-- Accounts each five minutes, of position_events and of moments (n: in units of five minutes since
-- 1970); the same text in PostgreSQL and in DuckDB. What was written before a moment counts.
WITH changes AS (
    SELECT
        position_id,
        id,
        CAST(floor(extract(epoch FROM created_at) / 300) AS bigint) + 1 AS n
    FROM position_events
), closing AS (
    SELECT
        position_id,
        n,
        max(id) AS id
    FROM changes
    GROUP BY position_id, n
), spans AS (
    SELECT
        position_events.*,
        closing.n AS from_n,
        lead(closing.n) OVER (PARTITION BY closing.position_id ORDER BY closing.n) AS until_n
    FROM closing
    JOIN position_events ON position_events.id = closing.id
), held AS (
    SELECT
        moments.n,
        spans.*,
        CAST(coalesce(spans.price * spans.size_after, 0) AS decimal(28, 10)) AS worth,
        row_number() OVER (PARTITION BY moments.n, spans.account ORDER BY spans.id DESC) AS place
    FROM moments
    JOIN spans ON moments.n >= spans.from_n
        AND (spans.until_n IS NULL OR moments.n < spans.until_n)
), accounts AS (
    SELECT
        n,
        account,
        CAST(sum(CASE WHEN place = 1 THEN cash_after ELSE 0 END) AS decimal(28, 10)) AS cash,
        count(CASE WHEN size_after <> 0 THEN 1 END) AS positions,
        CAST(sum(cost_after) AS decimal(28, 10)) AS cost,
        CAST(sum(worth) AS decimal(28, 10)) AS value,
        CAST(sum(realised_after) AS decimal(28, 10)) AS realised,
        CAST(sum(fees_after) AS decimal(28, 10)) AS fees
    FROM held
    GROUP BY n, account
)
SELECT
    row_number() OVER (ORDER BY n, account) AS row_no,
    to_timestamp(n * 300) AS snapshot_time,
    account,
    cash,
    positions,
    cost,
    value,
    CAST(cash + value AS decimal(28, 10)) AS equity,
    CAST(value - cost AS decimal(28, 10)) AS unrealised,
    realised,
    fees
FROM accounts
