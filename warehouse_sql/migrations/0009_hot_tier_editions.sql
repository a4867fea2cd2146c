-- The hot tier on each edition of the server: hypertables where there is TimescaleDB, the indexes
-- that dashboards ask for, roll-ups of our own for where the server has none, and open alerts.

-- Ticks: summaries of page ranges only, since every B-tree costs the write path a third or more.
DROP INDEX market.crypto_trades_event_time;
DROP INDEX market.crypto_quotes_event_time;
DROP INDEX market.crypto_aggregates_event_time;
DROP INDEX market.market_sentiment_event_time;
CREATE INDEX crypto_trades_event_time ON market.crypto_trades
    USING brin (event_time) WITH (pages_per_range = 128, autosummarize = on);
CREATE INDEX crypto_trades_ticker_time ON market.crypto_trades
    USING brin (ticker, event_time) WITH (pages_per_range = 128, autosummarize = on);
CREATE INDEX crypto_quotes_event_time ON market.crypto_quotes
    USING brin (event_time) WITH (pages_per_range = 128, autosummarize = on);
CREATE INDEX crypto_quotes_ticker_time ON market.crypto_quotes
    USING brin (ticker, event_time) WITH (pages_per_range = 128, autosummarize = on);
CREATE INDEX crypto_aggregates_event_time ON market.crypto_aggregates
    USING brin (event_time) WITH (pages_per_range = 128, autosummarize = on);
CREATE INDEX market_sentiment_event_time ON market.market_sentiment
    USING brin (event_time) WITH (pages_per_range = 128, autosummarize = on);

-- Bars and scores come by the hundred a minute: there an index that answers alone costs nothing.
CREATE INDEX crypto_aggregates_latest ON market.crypto_aggregates (ticker, event_time DESC)
    INCLUDE ("close", volume);
CREATE INDEX market_sentiment_latest ON market.market_sentiment (asset, event_time DESC)
    INCLUDE (sentiment_score, confidence);
CREATE INDEX market_sentiment_metadata ON market.market_sentiment USING gin (metadata_json);

-- Makes an empty tick table a hypertable: it can't be one while it is partitioned by itself. True
-- when it is one now; false where rows or partitions are there already, and it stays as it is.
CREATE FUNCTION market.make_hypertable(dataset text, chunk interval) RETURNS boolean
    LANGUAGE plpgsql AS $$
DECLARE
    old CONSTANT regclass := format('market.%I', dataset);
    indexes CONSTANT text[] := (
        SELECT array_agg(replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON '))
        FROM pg_index WHERE indrelid = old);
    statement text;
BEGIN
    IF (SELECT relkind <> 'p' FROM pg_class WHERE oid = old) THEN
        RETURN EXISTS (SELECT FROM timescaledb_information.hypertables
            WHERE hypertable_schema = 'market' AND hypertable_name = dataset);
    END IF;
    IF EXISTS (SELECT FROM pg_inherits WHERE inhparent = old) THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE market.%I (LIKE market.%I INCLUDING ALL EXCLUDING INDEXES)',
        dataset || '_new', dataset);
    EXECUTE format('COMMENT ON TABLE market.%I IS %L',
        dataset || '_new', obj_description(old, 'pg_class'));
    EXECUTE format('DROP TABLE market.%I', dataset);
    EXECUTE format('ALTER TABLE market.%I RENAME TO %I', dataset || '_new', dataset);
    FOREACH statement IN ARRAY indexes LOOP
        EXECUTE statement;
    END LOOP;
    PERFORM create_hypertable(format('market.%I', dataset)::regclass,
        by_range('event_time', chunk), create_default_indexes => false);
    RETURN true;
END
$$;

-- Before anything stands on the tables.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN
        PERFORM market.make_hypertable(dataset, interval '1 day') FROM unnest(ARRAY[
            'crypto_trades', 'crypto_quotes', 'crypto_aggregates', 'market_sentiment']) AS dataset;
    END IF;
END
$$;

CREATE TABLE market.pinned_tickers (ticker text PRIMARY KEY);
COMMENT ON TABLE market.pinned_tickers IS
    'Tickers that get a slot of their own in days made from now on; from the settings, at each start.';

-- Which of two trades came first: by time, then by arrival.
CREATE TYPE market.tick_place AS (event_time timestamptz, seq bigint);

-- Roll-ups of trades. The place of a bar's first and last trade stays with it, so that trades that
-- come later, of whatever time, are merged into exactly the bars that they belong to.
CREATE TABLE market.roll_1m (
    ticker text NOT NULL,
    exchange text NOT NULL,
    market text NOT NULL,
    bucket timestamptz NOT NULL,
    "open" numeric NOT NULL,
    high numeric NOT NULL,
    low numeric NOT NULL,
    "close" numeric NOT NULL,
    volume numeric NOT NULL,
    turnover numeric NOT NULL,
    trades bigint NOT NULL,
    buy_volume numeric NOT NULL,
    sell_volume numeric NOT NULL,
    first_place market.tick_place NOT NULL,
    last_place market.tick_place NOT NULL,
    PRIMARY KEY (ticker, bucket, exchange, market)
) WITH (fillfactor = 80);
CREATE INDEX roll_1m_bucket ON market.roll_1m USING brin (bucket) WITH (pages_per_range = 128);
COMMENT ON TABLE market.roll_1m IS
    'Bars of trades, kept by ticklake where the server has no continuous aggregates; read them as '
    'crypto_agg_1m. roll_5m, roll_1h and roll_1d are the same with longer buckets.';
CREATE TABLE market.roll_5m (LIKE market.roll_1m INCLUDING ALL) WITH (fillfactor = 80);
CREATE TABLE market.roll_1h (LIKE market.roll_1m INCLUDING ALL) WITH (fillfactor = 80);
CREATE TABLE market.roll_1d (LIKE market.roll_1m INCLUDING ALL) WITH (fillfactor = 80);

CREATE TABLE market.roll_marks (
    shard smallint PRIMARY KEY,
    frame bigint NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE market.roll_marks IS 'Per shard: the last frame whose trades are in the roll-ups.';

-- Merges the trades of frames (after, upto] of a shard into every roll-up and moves the shard's
-- mark, or does nothing when the mark is elsewhere (somebody else did it). Returns the trades. They
-- are asked for by the ranges of the index on seq, as every reader of new rows does.
CREATE FUNCTION market.roll_up(shard smallint, after bigint, upto bigint) RETURNS bigint
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

CREATE TABLE market.alerts (
    thing text PRIMARY KEY,
    fault text NOT NULL,
    remedy text NOT NULL,
    raised_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL
);
COMMENT ON TABLE market.alerts IS
    'What is wrong now and needs somebody: raised once, gone when it is over.';
