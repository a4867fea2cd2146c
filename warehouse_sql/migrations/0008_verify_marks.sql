-- What `ticklake verify` has proven, so that its next run reads only what is new. Deleting these
-- rows costs time, never truth.

CREATE INDEX ledger_minutes_frames ON market.ledger_minutes
    USING brin (first_frame, last_frame) WITH (pages_per_range = 32, autosummarize = on);

CREATE TABLE market.verified_frames (
    tier text NOT NULL,
    dataset text NOT NULL,
    shard smallint NOT NULL,
    frame bigint NOT NULL,
    events bigint NOT NULL,
    PRIMARY KEY (tier, dataset, shard)
);
COMMENT ON TABLE market.verified_frames IS
    'Per tier, dataset and shard: the last frame proven, and the events counted until there.';

CREATE TABLE market.verified_units (
    tier text NOT NULL,
    dataset text NOT NULL,
    unit text NOT NULL,
    stamp text NOT NULL,
    inserted bigint NOT NULL,
    rows bigint NOT NULL,
    sum_a numeric(38, 10) NOT NULL,
    sum_b numeric(38, 10) NOT NULL,
    digest numeric(38, 0) NOT NULL,
    PRIMARY KEY (tier, dataset, unit)
);
COMMENT ON TABLE market.verified_units IS
    'Per UTC day: the ledger''s totals through the proven frames, and, in the hot tier, what '
    'PostgreSQL''s counters of the partition said then.';

CREATE TABLE market.verified_files (
    dataset text NOT NULL,
    path text NOT NULL,
    stamp text NOT NULL,
    unit text NOT NULL,
    rows bigint NOT NULL,
    sum_a numeric(38, 10) NOT NULL,
    sum_b numeric(38, 10) NOT NULL,
    digest numeric(38, 0) NOT NULL,
    PRIMARY KEY (dataset, path, unit)
);
COMMENT ON TABLE market.verified_files IS
    'Per data file of the lake: what the file system said of it when it was read, and its totals.';
