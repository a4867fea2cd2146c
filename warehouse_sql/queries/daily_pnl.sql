-- Daily P&L
-- What each account made each UTC day: its equity at the day's last snapshot, less that of the day
-- before (of its first day, less what the first snapshot shows), and what it did for it.
--
-- Parameters
--   since  time = now-7d  First snapshot, inclusive; the day before it is not counted from.
--   until  time = now     Last snapshot, exclusive.
--
-- Columns
--   account     text     Whose it is.
--   day         time     Start of the day, UTC.
--   equity      decimal  Cash and value of positions at the day's last snapshot.
--   profit      decimal  Change of equity, money and imported positions that came left out.
--   realised    decimal  Profit realised in the day, without fees.
--   unrealised  decimal  Value less cost of what is held at its end.
--   fees        decimal  Fees of the day.
--   moved       decimal  Money and imported positions that came, less what went.
--   fills       integer  Fills of the day.
--   turnover    decimal  Value of these fills.
WITH days AS (
    SELECT
        account,
        bucket(snapshot_time, 86400000) AS day,
        arg_max(equity, snapshot_time) AS equity,
        arg_max(realised, snapshot_time) AS realised,
        arg_max(unrealised, snapshot_time) AS unrealised,
        arg_max(fees, snapshot_time) AS fees,
        max(snapshot_time) AS last_time,
        arg_min(equity, snapshot_time) AS first_equity,
        arg_min(realised, snapshot_time) AS first_realised,
        arg_min(fees, snapshot_time) AS first_fees,
        min(snapshot_time) AS first_time
    FROM portfolio_snapshots
    WHERE snapshot_time >= $since AND snapshot_time < $until
    GROUP BY account, bucket(snapshot_time, 86400000)
), spans AS (
    SELECT
        account,
        day,
        equity,
        realised,
        unrealised,
        fees,
        last_time,
        coalesce(lag(equity) OVER (PARTITION BY account ORDER BY day), first_equity)
            AS equity_before,
        coalesce(lag(realised) OVER (PARTITION BY account ORDER BY day), first_realised)
            AS realised_before,
        coalesce(lag(fees) OVER (PARTITION BY account ORDER BY day), first_fees) AS fees_before,
        coalesce(lag(last_time) OVER (PARTITION BY account ORDER BY day), first_time) AS time_before
    FROM days
), brought AS (
    SELECT
        came.account,
        came.created_at,
        CASE WHEN came.ticker = 'cash' THEN came.size ELSE held.value END AS amount
    FROM position_events AS came
    LEFT JOIN positions_history AS held ON held.event_id = came.id
    WHERE came.event_type IN ('moved', 'imported')
), money AS (
    SELECT
        spans.account,
        spans.day,
        sum(brought.amount) AS moved
    FROM spans
    JOIN brought ON brought.account = spans.account
        AND brought.created_at >= spans.time_before
        AND brought.created_at < spans.last_time
    GROUP BY spans.account, spans.day
), done AS (
    SELECT
        account,
        bucket(event_time, 86400000) AS day,
        count(*) AS fills,
        sum(value) AS turnover
    FROM fills
    WHERE event_time >= $since AND event_time < $until
    GROUP BY account, bucket(event_time, 86400000)
)
SELECT
    spans.account,
    spans.day,
    spans.equity,
    CAST(spans.equity - spans.equity_before - coalesce(money.moved, 0) AS DECIMAL(28, 10)) AS profit,
    CAST(spans.realised - spans.realised_before AS DECIMAL(28, 10)) AS realised,
    spans.unrealised,
    CAST(spans.fees - spans.fees_before AS DECIMAL(28, 10)) AS fees,
    CAST(coalesce(money.moved, 0) AS DECIMAL(28, 10)) AS moved,
    coalesce(done.fills, 0) AS fills,
    CAST(coalesce(done.turnover, 0) AS DECIMAL(28, 10)) AS turnover
FROM spans
LEFT JOIN money ON money.account = spans.account AND money.day = spans.day
LEFT JOIN done ON done.account = spans.account AND done.day = spans.day
ORDER BY spans.account, spans.day
