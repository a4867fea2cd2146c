-- The tails' plan made certain: with `OFFSET 0` PostgreSQL takes snapshot and shard first and then asks
-- the index of places for that shard's rows beyond, whatever else the query asks for. A condition
-- such as a ticker's would else tempt it to read that ticker's whole past. The engine that asks
-- applies its own conditions to the tail, which is seconds long.
-- Readers set `enable_seqscan = off` (lake/database.py), as for every read by range.

CREATE OR REPLACE VIEW market.crypto_trades_tail AS
    SELECT m.snapshot_id, t.ticker, t.exchange, t.market, t.trade_id, t.event_time, t.received_time,
        t.price, t.size, t.side, t.conditions, t.shard, t.seq
    FROM market.lake_marks AS m
    CROSS JOIN market.shards AS s
    CROSS JOIN LATERAL (
        SELECT *
        FROM market.crypto_trades AS r
        WHERE market.place(r.shard, r.seq)
                > market.place(s.shard, 0) + coalesce((m.through ->> s.shard::text)::bigint, -1)
            AND market.place(r.shard, r.seq) < market.place((s.shard + 1)::smallint, 0)
        OFFSET 0
    ) AS t
    WHERE m.dataset = 'crypto_trades';

CREATE OR REPLACE VIEW market.crypto_quotes_tail AS
    SELECT m.snapshot_id, t.ticker, t.exchange, t.market, t.event_time, t.received_time,
        t.event_time_source, t.bid_price, t.bid_size, t.ask_price, t.ask_size,
        t.venue_sequence, t.shard, t.seq
    FROM market.lake_marks AS m
    CROSS JOIN market.shards AS s
    CROSS JOIN LATERAL (
        SELECT *
        FROM market.crypto_quotes AS r
        WHERE market.place(r.shard, r.seq)
                > market.place(s.shard, 0) + coalesce((m.through ->> s.shard::text)::bigint, -1)
            AND market.place(r.shard, r.seq) < market.place((s.shard + 1)::smallint, 0)
        OFFSET 0
    ) AS t
    WHERE m.dataset = 'crypto_quotes';

CREATE OR REPLACE VIEW market.crypto_aggregates_tail AS
    SELECT m.snapshot_id, t.ticker, t.exchange, t.market, t.event_time, t.received_time,
        t."interval", t."open", t.high, t.low, t."close", t.volume, t.vwap,
        t.average_trade_size, t.shard, t.seq
    FROM market.lake_marks AS m
    CROSS JOIN market.shards AS s
    CROSS JOIN LATERAL (
        SELECT *
        FROM market.crypto_aggregates AS r
        WHERE market.place(r.shard, r.seq)
                > market.place(s.shard, 0) + coalesce((m.through ->> s.shard::text)::bigint, -1)
            AND market.place(r.shard, r.seq) < market.place((s.shard + 1)::smallint, 0)
        OFFSET 0
    ) AS t
    WHERE m.dataset = 'crypto_aggregates';

CREATE OR REPLACE VIEW market.market_sentiment_tail AS
    SELECT m.snapshot_id, t.asset, t.source, t.event_time, t.received_time, t.sentiment_score,
        t.confidence, t.metadata, t.shard, t.seq
    FROM market.lake_marks AS m
    CROSS JOIN market.shards AS s
    CROSS JOIN LATERAL (
        SELECT *
        FROM market.market_sentiment AS r
        WHERE market.place(r.shard, r.seq)
                > market.place(s.shard, 0) + coalesce((m.through ->> s.shard::text)::bigint, -1)
            AND market.place(r.shard, r.seq) < market.place((s.shard + 1)::smallint, 0)
        OFFSET 0
    ) AS t
    WHERE m.dataset = 'market_sentiment';

CREATE OR REPLACE VIEW market.quarantine_tail AS
    SELECT m.snapshot_id, t.feed, t.connection, t.received_time, t.reason, t.detail, t.place, t.raw,
        t.shard, t.seq
    FROM market.lake_marks AS m
    CROSS JOIN market.shards AS s
    CROSS JOIN LATERAL (
        SELECT *
        FROM market.quarantine AS r
        WHERE market.place(r.shard, r.seq)
                > market.place(s.shard, 0) + coalesce((m.through ->> s.shard::text)::bigint, -1)
            AND market.place(r.shard, r.seq) < market.place((s.shard + 1)::smallint, 0)
        OFFSET 0
    ) AS t
    WHERE m.dataset = 'quarantine';

CREATE OR REPLACE VIEW market.ingest_batches_tail AS
    SELECT m.snapshot_id, t.shard, t.epoch, t.first_frame, t.last_frame, t.feed, t.codec_version,
        t.frames, t.events, t.stored, t.quarantined, t.duplicate, t.ignored,
        t.ignored_kinds, t.committed_time, t.seq
    FROM market.lake_marks AS m
    CROSS JOIN market.shards AS s
    CROSS JOIN LATERAL (
        SELECT *
        FROM market.ingest_batches AS r
        WHERE market.place(r.shard, r.seq)
                > market.place(s.shard, 0) + coalesce((m.through ->> s.shard::text)::bigint, -1)
            AND market.place(r.shard, r.seq) < market.place((s.shard + 1)::smallint, 0)
        OFFSET 0
    ) AS t
    WHERE m.dataset = 'ingest_batches';
