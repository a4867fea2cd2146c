-- The tail that the lake does not hold yet, for an engine that learns the lake's snapshot while its
-- query runs: it asks for `snapshot_id = X`, and PostgreSQL reads the rows beyond X and no others.

CREATE TABLE market.lake_marks (
    dataset text NOT NULL,
    snapshot_id bigint NOT NULL,
    through jsonb NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (dataset, snapshot_id)
);
COMMENT ON TABLE market.lake_marks IS
    'Per snapshot of ours, noted before its commit: shard -> last frame that the lake then holds. '
    'Snapshot 0 is the empty table.';
INSERT INTO market.lake_marks (dataset, snapshot_id, through) VALUES
    ('crypto_trades', 0, '{}'),
    ('crypto_quotes', 0, '{}'),
    ('crypto_aggregates', 0, '{}'),
    ('market_sentiment', 0, '{}'),
    ('quarantine', 0, '{}'),
    ('ingest_batches', 0, '{}');

-- One order over all shards: 17 bits of shard, 47 of frame. An index on seq alone can't tell the old
-- rows of a shard that is far on from the new ones of a young shard.
CREATE FUNCTION market.place(shard smallint, seq bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (shard::bigint << 47) | (seq >> 16);

CREATE INDEX crypto_trades_place ON market.crypto_trades
    USING brin (market.place(shard, seq) int8_minmax_multi_ops)
    WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX crypto_quotes_place ON market.crypto_quotes
    USING brin (market.place(shard, seq) int8_minmax_multi_ops)
    WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX crypto_aggregates_place ON market.crypto_aggregates
    USING brin (market.place(shard, seq) int8_minmax_multi_ops)
    WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX market_sentiment_place ON market.market_sentiment
    USING brin (market.place(shard, seq) int8_minmax_multi_ops)
    WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX quarantine_place ON market.quarantine
    USING brin (market.place(shard, seq) int8_minmax_multi_ops)
    WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX ingest_batches_place ON market.ingest_batches (market.place(shard, seq));

-- Each view: for every noted snapshot, the rows of each shard beyond it; a shard that the snapshot
-- does not know has all of its rows there. Without `snapshot_id = X` a row comes once per snapshot.
-- Both bounds name both tables (`0 * m.snapshot_id`): the planner then takes both to the index.
CREATE VIEW market.crypto_trades_tail AS
    SELECT m.snapshot_id, t.ticker, t.exchange, t.market, t.trade_id, t.event_time, t.received_time,
        t.price, t.size, t.side, t.conditions, t.shard, t.seq
    FROM market.lake_marks AS m
    CROSS JOIN market.shards AS s
    JOIN market.crypto_trades AS t
        ON market.place(t.shard, t.seq)
            > market.place(s.shard, 0) + coalesce((m.through ->> s.shard::text)::bigint, -1)
        AND market.place(t.shard, t.seq)
            < market.place((s.shard + 1)::smallint, 0) + 0 * m.snapshot_id
    WHERE m.dataset = 'crypto_trades';

CREATE VIEW market.crypto_quotes_tail AS
    SELECT m.snapshot_id, t.ticker, t.exchange, t.market, t.event_time, t.received_time,
        t.event_time_source, t.bid_price, t.bid_size, t.ask_price, t.ask_size,
        t.venue_sequence, t.shard, t.seq
    FROM market.lake_marks AS m
    CROSS JOIN market.shards AS s
    JOIN market.crypto_quotes AS t
        ON market.place(t.shard, t.seq)
            > market.place(s.shard, 0) + coalesce((m.through ->> s.shard::text)::bigint, -1)
        AND market.place(t.shard, t.seq)
            < market.place((s.shard + 1)::smallint, 0) + 0 * m.snapshot_id
    WHERE m.dataset = 'crypto_quotes';

CREATE VIEW market.crypto_aggregates_tail AS
    SELECT m.snapshot_id, t.ticker, t.exchange, t.market, t.event_time, t.received_time,
        t."interval", t."open", t.high, t.low, t."close", t.volume, t.vwap,
        t.average_trade_size, t.shard, t.seq
    FROM market.lake_marks AS m
    CROSS JOIN market.shards AS s
    JOIN market.crypto_aggregates AS t
        ON market.place(t.shard, t.seq)
            > market.place(s.shard, 0) + coalesce((m.through ->> s.shard::text)::bigint, -1)
        AND market.place(t.shard, t.seq)
            < market.place((s.shard + 1)::smallint, 0) + 0 * m.snapshot_id
    WHERE m.dataset = 'crypto_aggregates';

CREATE VIEW market.market_sentiment_tail AS
    SELECT m.snapshot_id, t.asset, t.source, t.event_time, t.received_time, t.sentiment_score,
        t.confidence, t.metadata, t.shard, t.seq
    FROM market.lake_marks AS m
    CROSS JOIN market.shards AS s
    JOIN market.market_sentiment AS t
        ON market.place(t.shard, t.seq)
            > market.place(s.shard, 0) + coalesce((m.through ->> s.shard::text)::bigint, -1)
        AND market.place(t.shard, t.seq)
            < market.place((s.shard + 1)::smallint, 0) + 0 * m.snapshot_id
    WHERE m.dataset = 'market_sentiment';

CREATE VIEW market.quarantine_tail AS
    SELECT m.snapshot_id, t.feed, t.connection, t.received_time, t.reason, t.detail, t.place, t.raw,
        t.shard, t.seq
    FROM market.lake_marks AS m
    CROSS JOIN market.shards AS s
    JOIN market.quarantine AS t
        ON market.place(t.shard, t.seq)
            > market.place(s.shard, 0) + coalesce((m.through ->> s.shard::text)::bigint, -1)
        AND market.place(t.shard, t.seq)
            < market.place((s.shard + 1)::smallint, 0) + 0 * m.snapshot_id
    WHERE m.dataset = 'quarantine';

CREATE VIEW market.ingest_batches_tail AS
    SELECT m.snapshot_id, t.shard, t.epoch, t.first_frame, t.last_frame, t.feed, t.codec_version,
        t.frames, t.events, t.stored, t.quarantined, t.duplicate, t.ignored,
        t.ignored_kinds, t.committed_time, t.seq
    FROM market.lake_marks AS m
    CROSS JOIN market.shards AS s
    JOIN market.ingest_batches AS t
        ON market.place(t.shard, t.seq)
            > market.place(s.shard, 0) + coalesce((m.through ->> s.shard::text)::bigint, -1)
        AND market.place(t.shard, t.seq)
            < market.place((s.shard + 1)::smallint, 0) + 0 * m.snapshot_id
    WHERE m.dataset = 'ingest_batches';
