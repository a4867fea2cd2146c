-- As before, at a third of the price: a bar's first and last trade are looked up by their time,
-- where four ordered arrays of all trades were sorted.
CREATE OR REPLACE FUNCTION market.roll_up(shard smallint, after bigint, upto bigint) RETURNS bigint
    LANGUAGE plpgsql SET enable_seqscan = off SET enable_nestloop = off AS $$
DECLARE
    epoch CONSTANT timestamptz := '1970-01-01 00:00:00+00';
    bars market.roll_1m[];
    level record;
BEGIN
    INSERT INTO market.roll_marks VALUES (roll_up.shard, 0) ON CONFLICT DO NOTHING;
    PERFORM FROM market.roll_marks AS m
        WHERE m.shard = roll_up.shard AND m.frame = after FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    bars := ARRAY(
        WITH sums AS MATERIALIZED (
            SELECT t.ticker, t.exchange, t.market, date_bin('1 min', t.event_time, epoch) AS bucket,
                min(t.event_time) AS first_time, max(t.event_time) AS last_time,
                max(t.price) AS high, min(t.price) AS low,
                sum(t.size) AS volume, sum(t.price * t.size) AS turnover, count(*) AS trades,
                coalesce(sum(t.size) FILTER (WHERE t.side = 'buy'), 0) AS buy_volume,
                coalesce(sum(t.size) FILTER (WHERE t.side = 'sell'), 0) AS sell_volume
            FROM market.crypto_trades AS t
            WHERE t.shard = roll_up.shard
                AND t.seq >= (after + 1) << 16 AND t.seq < (upto + 1) << 16
                AND coalesce(t.conditions NOT IN ('INSURANCE_FUND', 'ADL', 'NA'), true)
            GROUP BY 1, 2, 3, 4
        ), moments AS (
            SELECT ticker, exchange, market, first_time AS event_time FROM sums
            UNION SELECT ticker, exchange, market, last_time FROM sums
        ), ends AS MATERIALIZED (
            SELECT ticker, exchange, market, event_time,
                min(ARRAY[t.seq, t.price]) AS first, max(ARRAY[t.seq, t.price]) AS last
            FROM market.crypto_trades AS t
            JOIN moments USING (event_time, ticker, exchange, market)
            WHERE t.shard = roll_up.shard
                AND t.seq >= (after + 1) << 16 AND t.seq < (upto + 1) << 16
                AND coalesce(t.conditions NOT IN ('INSURANCE_FUND', 'ADL', 'NA'), true)
            GROUP BY 1, 2, 3, 4
        )
        SELECT ROW(s.ticker, s.exchange, s.market, s.bucket,
            o.first[2], s.high, s.low, c.last[2],
            s.volume, s.turnover, s.trades, s.buy_volume, s.sell_volume,
            ROW(s.first_time, o.first[1]::bigint), ROW(s.last_time, c.last[1]::bigint)
            )::market.roll_1m
        FROM sums AS s
        JOIN ends AS o ON (o.event_time, o.ticker, o.exchange, o.market)
            = (s.first_time, s.ticker, s.exchange, s.market)
        JOIN ends AS c ON (c.event_time, c.ticker, c.exchange, c.market)
            = (s.last_time, s.ticker, s.exchange, s.market));
    FOR level IN SELECT * FROM (VALUES ('roll_1m', interval '1 min'), ('roll_5m', '5 min'),
        ('roll_1h', '1 hour'), ('roll_1d', '1 day')) AS l (name, width)
    LOOP
        EXECUTE format($merge$
            INSERT INTO market.%I AS old
            SELECT ticker, exchange, market,
                date_bin($2, bucket, timestamptz '1970-01-01 00:00:00+00'),
                (array_agg("open" ORDER BY first_place))[1], max(high), min(low),
                (array_agg("close" ORDER BY last_place DESC))[1],
                sum(volume), sum(turnover), sum(trades), sum(buy_volume), sum(sell_volume),
                (array_agg(first_place ORDER BY first_place))[1],
                (array_agg(last_place ORDER BY last_place DESC))[1]
            FROM unnest($1) GROUP BY 1, 2, 3, 4 ORDER BY 1, 4, 2, 3
            ON CONFLICT (ticker, bucket, exchange, market) DO UPDATE SET
                "open" = CASE WHEN excluded.first_place < old.first_place
                    THEN excluded."open" ELSE old."open" END,
                first_place = least(excluded.first_place, old.first_place),
                "close" = CASE WHEN excluded.last_place > old.last_place
                    THEN excluded."close" ELSE old."close" END,
                last_place = greatest(excluded.last_place, old.last_place),
                high = greatest(excluded.high, old.high),
                low = least(excluded.low, old.low),
                volume = old.volume + excluded.volume,
                turnover = old.turnover + excluded.turnover,
                trades = old.trades + excluded.trades,
                buy_volume = old.buy_volume + excluded.buy_volume,
                sell_volume = old.sell_volume + excluded.sell_volume
            $merge$, level.name) USING bars, level.width;
    END LOOP;
    UPDATE market.roll_marks AS m SET frame = upto WHERE m.shard = roll_up.shard;
    RETURN coalesce((SELECT sum(bar.trades) FROM unnest(bars) AS bar), 0);
END
$$;
