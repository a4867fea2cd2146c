-- What has left: lake files that wait out their grace, hot partitions dropped after proof, journal
-- segments deleted after their ledger was sealed.

CREATE TABLE market.lake_removals (
    path text PRIMARY KEY,
    dataset text NOT NULL,
    freed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON market.lake_removals (dataset, freed_at);
COMMENT ON TABLE market.lake_removals IS
    'Files that the lake''s newest snapshot no longer needs and that are not yet removed.';

CREATE TABLE market.dropped_partitions (
    dataset text NOT NULL,
    day date NOT NULL,
    rows bigint NOT NULL,
    digest numeric(38, 0) NOT NULL,
    dropped_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON market.dropped_partitions (dataset, day);
COMMENT ON TABLE market.dropped_partitions IS
    'Hot partitions dropped after the lake was proven to hold the same rows; a late replay may '
    'make a day again, which then leaves again.';

CREATE TABLE market.sealed_segments (
    shard smallint NOT NULL,
    first_frame bigint NOT NULL,
    last_frame bigint NOT NULL,
    frames bigint NOT NULL,
    events bigint NOT NULL,
    digest text NOT NULL,
    sealed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (shard, first_frame)
);
COMMENT ON TABLE market.sealed_segments IS
    'Stretches of the journal whose ledger was derived again from the frames, found equal, and '
    'sealed with a digest; only these may be deleted.';
