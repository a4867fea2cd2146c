-- feed_gaps, instruments and ledger_minutes get a place in the journal, by which they go to the lake
-- as every other table does: rows are added and never changed. A gap that closes and an instrument
-- of which more is told are written again; the one with the largest place is the state now.

ALTER TABLE market.feed_gaps ADD COLUMN seq bigint;
COMMENT ON COLUMN market.feed_gaps.seq IS
    'Place of the change in the journal: the largest of a gap is its state now.';
ALTER TABLE market.feed_gaps DROP CONSTRAINT feed_gaps_pkey;
UPDATE market.feed_gaps SET seq = gap_id;
CREATE INDEX feed_gaps_seq ON market.feed_gaps (shard, seq);
CREATE INDEX feed_gaps_gap ON market.feed_gaps (shard, gap_id, seq);

ALTER TABLE market.instruments ADD COLUMN recorded_time timestamptz;
ALTER TABLE market.instruments ADD COLUMN shard smallint;
ALTER TABLE market.instruments ADD COLUMN seq bigint;
COMMENT ON COLUMN market.instruments.recorded_time IS
    'When this description was first seen. [microseconds, UTC]';
COMMENT ON COLUMN market.instruments.shard IS
    'Shard whose journal holds the frame.';
COMMENT ON COLUMN market.instruments.seq IS
    'Place of the description in the shard''s journal.';
ALTER TABLE market.instruments DROP CONSTRAINT instruments_pkey;
CREATE INDEX instruments_seq ON market.instruments (shard, seq);
CREATE INDEX instruments_key ON market.instruments (venue, market, symbol);

ALTER TABLE market.ledger_minutes ADD COLUMN seq bigint;
COMMENT ON COLUMN market.ledger_minutes.seq IS
    'last_frame << 16.';
UPDATE market.ledger_minutes SET seq = last_frame << 16;
CREATE INDEX ledger_minutes_seq ON market.ledger_minutes (shard, seq);

-- What was there before: an instrument stands in the first batch of a shard that knows it.
WITH owner AS (
    SELECT i.venue, i.market, i.symbol, coalesce(
        (SELECT min(s.shard) FROM market.shards AS s
            WHERE s.trade_high -> 'high' -> 'crypto_trades' ? concat_ws('|', i.venue, i.market, i.ticker)),
        (SELECT min(s.shard) FROM market.shards AS s)) AS shard
    FROM market.instruments AS i
), first_batch AS (
    SELECT DISTINCT ON (shard) shard, last_frame, committed_time
    FROM market.ingest_batches ORDER BY shard, last_frame
), placed AS (
    SELECT o.venue, o.market, o.symbol, o.shard, b.committed_time, (b.last_frame << 16)
        | (row_number() OVER (PARTITION BY o.shard ORDER BY o.venue, o.market, o.symbol) - 1) AS seq
    FROM owner AS o JOIN first_batch AS b USING (shard)
)
UPDATE market.instruments AS i
    SET shard = p.shard, seq = p.seq, recorded_time = p.committed_time
    FROM placed AS p
    WHERE (i.venue, i.market, i.symbol) = (p.venue, p.market, p.symbol);

-- Their ledger, with the canonical text of lake/ledger.py.
INSERT INTO market.ledger_minutes
    (shard, dataset, ticker, minute, first_frame, last_frame, "rows", sum_a, sum_b, digest, seq)
SELECT g.shard, 'feed_gaps', g.feed, date_bin('1 minute', g.detected_time, 'epoch'),
    b.first_frame, b.last_frame, count(*), 0, 0,
    sum(market.digest_slice(concat_ws('|', g.gap_id::text, g.feed, g.connection::text,
        coalesce(g.ticker, '~'), g.kind, (extract(epoch FROM g.gap_from) * 1000000)::bigint::text,
        coalesce((extract(epoch FROM g.gap_to) * 1000000)::bigint::text, '~'),
        coalesce(g.first_missing, '~'), coalesce(g.last_missing, '~'),
        (extract(epoch FROM g.detected_time) * 1000000)::bigint::text,
        coalesce((extract(epoch FROM g.closed_time) * 1000000)::bigint::text, '~'),
        coalesce(g.filled, '~'), g.shard::text, 'seq=' || g.seq::text))),
    b.last_frame << 16
FROM market.feed_gaps AS g
JOIN (SELECT DISTINCT shard, first_frame, last_frame FROM market.ingest_batches) AS b
    ON b.shard = g.shard AND (g.seq >> 16) BETWEEN b.first_frame AND b.last_frame
GROUP BY 1, 3, 4, 5, 6;

INSERT INTO market.ledger_minutes
    (shard, dataset, ticker, minute, first_frame, last_frame, "rows", sum_a, sum_b, digest, seq)
SELECT i.shard, 'instruments', i.ticker, date_bin('1 minute', i.recorded_time, 'epoch'),
    b.first_frame, b.last_frame, count(*), 0, 0,
    sum(market.digest_slice(concat_ws('|', i.venue, i.market, i.symbol, i.ticker,
        coalesce(i.tick_size::text, '~'), coalesce(i.lot_size::text, '~'),
        coalesce(i.multiplier::text, '~'),
        'recorded_time=' || (extract(epoch FROM i.recorded_time) * 1000000)::bigint::text,
        'shard=' || i.shard::text, 'seq=' || i.seq::text))),
    b.last_frame << 16
FROM market.instruments AS i
JOIN (SELECT DISTINCT shard, first_frame, last_frame FROM market.ingest_batches) AS b
    ON b.shard = i.shard AND (i.seq >> 16) = b.last_frame
GROUP BY 1, 3, 4, 5, 6;

-- Their tails beyond a snapshot of the lake, as 0011 makes those of the other tables.
INSERT INTO market.lake_marks (dataset, snapshot_id, through) VALUES
    ('feed_gaps', 0, '{}'),
    ('instruments', 0, '{}'),
    ('ledger_minutes', 0, '{}');

CREATE VIEW market.feed_gaps_tail AS
    SELECT m.snapshot_id, t.gap_id, t.feed, t.connection, t.ticker, t.kind, t.gap_from, t.gap_to,
        t.first_missing, t.last_missing, t.detected_time, t.closed_time, t.filled, t.shard, t.seq
    FROM market.lake_marks AS m
    CROSS JOIN market.shards AS s
    CROSS JOIN LATERAL (
        SELECT *
        FROM market.feed_gaps AS r
        WHERE r.shard = s.shard
            AND r.seq >= (coalesce((m.through ->> s.shard::text)::bigint, -1) + 1) << 16
        OFFSET 0
    ) AS t
    WHERE m.dataset = 'feed_gaps';

CREATE VIEW market.instruments_tail AS
    SELECT m.snapshot_id, t.venue, t.market, t.symbol, t.ticker, t.tick_size, t.lot_size,
        t.multiplier, t.recorded_time, t.shard, t.seq
    FROM market.lake_marks AS m
    CROSS JOIN market.shards AS s
    CROSS JOIN LATERAL (
        SELECT *
        FROM market.instruments AS r
        WHERE r.shard = s.shard
            AND r.seq >= (coalesce((m.through ->> s.shard::text)::bigint, -1) + 1) << 16
        OFFSET 0
    ) AS t
    WHERE m.dataset = 'instruments';

CREATE VIEW market.ledger_minutes_tail AS
    SELECT m.snapshot_id, t.shard, t.dataset, t.ticker, t.minute, t.first_frame, t.last_frame,
        t."rows", t.sum_a, t.sum_b, t.digest, t.seq
    FROM market.lake_marks AS m
    CROSS JOIN market.shards AS s
    CROSS JOIN LATERAL (
        SELECT *
        FROM market.ledger_minutes AS r
        WHERE r.shard = s.shard
            AND r.seq >= (coalesce((m.through ->> s.shard::text)::bigint, -1) + 1) << 16
        OFFSET 0
    ) AS t
    WHERE m.dataset = 'ledger_minutes';
