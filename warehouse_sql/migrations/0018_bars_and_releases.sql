-- Bars: each set of tables of the lake has a lease of its own, so that ticks and what is made of them
-- are committed side by side; prints that venues leave out of their klines are in no bar.

-- A writer names its lease in the setting ticklake.lease (the committer's where it names none) and
-- its epoch in ticklake.epoch; maintenance by others names neither.
CREATE OR REPLACE FUNCTION market.fence_catalog() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mine CONSTANT text := coalesce(current_setting('ticklake.epoch', true), '');
    lease CONSTANT text :=
        coalesce(nullif(current_setting('ticklake.lease', true), ''), 'committer');
    held bigint;
BEGIN
    IF mine <> '' THEN
        SELECT l.epoch INTO held FROM market.leases AS l WHERE l.name = lease FOR SHARE;
        IF held IS DISTINCT FROM mine::bigint THEN
            RAISE EXCEPTION 'fenced: lease % is at epoch %, this committer holds %',
                lease, coalesce(held::text, 'none'), mine
                USING ERRCODE = 'TL001';
        END IF;
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END
$$;

-- As before, without the prints that the contract of bars excludes.
CREATE OR REPLACE FUNCTION market.roll_up(shard smallint, after bigint, upto bigint) RETURNS bigint
    LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
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
        SELECT ROW(t.ticker, t.exchange, t.market,
            date_bin('1 min', t.event_time, timestamptz '1970-01-01 00:00:00+00'),
            (array_agg(t.price ORDER BY t.event_time, t.seq))[1], max(t.price), min(t.price),
            (array_agg(t.price ORDER BY t.event_time, t.seq))[count(*)::int],
            sum(t.size), sum(t.price * t.size), count(*),
            coalesce(sum(t.size) FILTER (WHERE t.side = 'buy'), 0),
            coalesce(sum(t.size) FILTER (WHERE t.side = 'sell'), 0),
            ROW(min(t.event_time), (array_agg(t.seq ORDER BY t.event_time, t.seq))[1]),
            ROW(max(t.event_time), (array_agg(t.seq ORDER BY t.event_time, t.seq))[count(*)::int])
            )::market.roll_1m
        FROM market.crypto_trades AS t
        WHERE t.shard = roll_up.shard AND t.seq >= (after + 1) << 16 AND t.seq < (upto + 1) << 16
            AND coalesce(t.conditions NOT IN ('INSURANCE_FUND', 'ADL', 'NA'), true)
        GROUP BY t.ticker, t.exchange, t.market,
            date_bin('1 min', t.event_time, timestamptz '1970-01-01 00:00:00+00'));
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

-- Releases: named cuts across all lake tables; the tags of the same name keep their files.

CREATE TABLE market.releases (
    name text NOT NULL,
    dataset text NOT NULL,
    snapshot_id bigint NOT NULL,
    through text NOT NULL,
    closed_time timestamptz,
    created_time timestamptz NOT NULL,
    missing text,
    PRIMARY KEY (name, dataset)
);
COMMENT ON TABLE market.releases IS 'Cuts across all lake tables at one watermark, by name, that stay as they are.';
COMMENT ON COLUMN market.releases.name IS
    'Name of the release.';
COMMENT ON COLUMN market.releases.dataset IS
    'Dataset that is part of it.';
COMMENT ON COLUMN market.releases.snapshot_id IS
    'Iceberg snapshot of the dataset, kept by the tag of the release.';
COMMENT ON COLUMN market.releases.through IS
    'Shard to last frame, inclusive, as JSON: rows beyond are not part of it. One and the same in every dataset of a release.';
COMMENT ON COLUMN market.releases.closed_time IS
    'Of bars: the time before which every bucket is closed. [microseconds, UTC]';
COMMENT ON COLUMN market.releases.created_time IS
    'When the release was made. [microseconds, UTC]';
COMMENT ON COLUMN market.releases.missing IS
    'What the dataset lacks of this cut, in words. Null where it is whole.';

INSERT INTO market.open_to_analysts VALUES ('releases');
GRANT INSERT, DELETE ON market.releases TO market_operator;
