-- The tails of ticks say since when their rows can be, and end before what only a file holds yet.
--
-- Since when: every row's minute stands in the ledger of its batch, so no row beyond a snapshot is older
-- than the oldest minute that was written beyond it. That leaves out whole days, and on a server that
-- compresses their chunks, which know no bounds of a place, the tail decompresses none that is older.
--
-- The end: rows of history in bulk are in staged files until the lake's next commit, where the engine
-- that asks for a tail can't read them. Hot rows of later frames wait for that commit too: what is seen of
-- a shard is all of it up to a frame.

CREATE OR REPLACE VIEW market.crypto_trades_tail AS
    SELECT m.snapshot_id, t.ticker, t.exchange, t.market, t.trade_id, t.event_time, t.received_time,
        t.price, t.size, t.side, t.conditions, t.shard, t.seq
    FROM market.lake_marks AS m
    CROSS JOIN market.shards AS s
    CROSS JOIN LATERAL (
        SELECT coalesce((m.through ->> s.shard::text)::bigint, -1) AS through OFFSET 0
    ) AS n
    CROSS JOIN LATERAL (
        SELECT min(l.minute) AS minute
        FROM market.ledger_minutes AS l
        WHERE l.shard = s.shard AND l.seq >= (n.through + 1) << 16 AND l.dataset = 'crypto_trades'
    ) AS since
    CROSS JOIN LATERAL (
        SELECT min(f.first_frame) AS frame
        FROM market.staged_files AS f
        WHERE f.dataset = 'crypto_trades' AND f.shard = s.shard AND f.last_frame > n.through
    ) AS staged
    CROSS JOIN LATERAL (
        SELECT *
        FROM market.crypto_trades AS r
        WHERE market.place(r.shard, r.seq) > market.place(s.shard, 0) + n.through
            AND market.place(r.shard, r.seq) < coalesce(
                market.place(s.shard, 0) + staged.frame, market.place((s.shard + 1)::smallint, 0))
            AND r.event_time >= since.minute
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
        SELECT coalesce((m.through ->> s.shard::text)::bigint, -1) AS through OFFSET 0
    ) AS n
    CROSS JOIN LATERAL (
        SELECT min(l.minute) AS minute
        FROM market.ledger_minutes AS l
        WHERE l.shard = s.shard AND l.seq >= (n.through + 1) << 16 AND l.dataset = 'crypto_quotes'
    ) AS since
    CROSS JOIN LATERAL (
        SELECT min(f.first_frame) AS frame
        FROM market.staged_files AS f
        WHERE f.dataset = 'crypto_quotes' AND f.shard = s.shard AND f.last_frame > n.through
    ) AS staged
    CROSS JOIN LATERAL (
        SELECT *
        FROM market.crypto_quotes AS r
        WHERE market.place(r.shard, r.seq) > market.place(s.shard, 0) + n.through
            AND market.place(r.shard, r.seq) < coalesce(
                market.place(s.shard, 0) + staged.frame, market.place((s.shard + 1)::smallint, 0))
            AND r.event_time >= since.minute
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
        SELECT coalesce((m.through ->> s.shard::text)::bigint, -1) AS through OFFSET 0
    ) AS n
    CROSS JOIN LATERAL (
        SELECT min(l.minute) AS minute
        FROM market.ledger_minutes AS l
        WHERE l.shard = s.shard AND l.seq >= (n.through + 1) << 16 AND l.dataset = 'crypto_aggregates'
    ) AS since
    CROSS JOIN LATERAL (
        SELECT min(f.first_frame) AS frame
        FROM market.staged_files AS f
        WHERE f.dataset = 'crypto_aggregates' AND f.shard = s.shard AND f.last_frame > n.through
    ) AS staged
    CROSS JOIN LATERAL (
        SELECT *
        FROM market.crypto_aggregates AS r
        WHERE market.place(r.shard, r.seq) > market.place(s.shard, 0) + n.through
            AND market.place(r.shard, r.seq) < coalesce(
                market.place(s.shard, 0) + staged.frame, market.place((s.shard + 1)::smallint, 0))
            AND r.event_time >= since.minute
        OFFSET 0
    ) AS t
    WHERE m.dataset = 'crypto_aggregates';

CREATE OR REPLACE VIEW market.market_sentiment_tail AS
    SELECT m.snapshot_id, t.asset, t.source, t.event_time, t.received_time, t.sentiment_score,
        t.confidence, t.metadata, t.shard, t.seq
    FROM market.lake_marks AS m
    CROSS JOIN market.shards AS s
    CROSS JOIN LATERAL (
        SELECT coalesce((m.through ->> s.shard::text)::bigint, -1) AS through OFFSET 0
    ) AS n
    CROSS JOIN LATERAL (
        SELECT min(l.minute) AS minute
        FROM market.ledger_minutes AS l
        WHERE l.shard = s.shard AND l.seq >= (n.through + 1) << 16 AND l.dataset = 'market_sentiment'
    ) AS since
    CROSS JOIN LATERAL (
        SELECT min(f.first_frame) AS frame
        FROM market.staged_files AS f
        WHERE f.dataset = 'market_sentiment' AND f.shard = s.shard AND f.last_frame > n.through
    ) AS staged
    CROSS JOIN LATERAL (
        SELECT *
        FROM market.market_sentiment AS r
        WHERE market.place(r.shard, r.seq) > market.place(s.shard, 0) + n.through
            AND market.place(r.shard, r.seq) < coalesce(
                market.place(s.shard, 0) + staged.frame, market.place((s.shard + 1)::smallint, 0))
            AND r.event_time >= since.minute
        OFFSET 0
    ) AS t
    WHERE m.dataset = 'market_sentiment';
