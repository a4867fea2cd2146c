-- How far each backfill, file and import has come, so that a rerun goes on from there.

CREATE TABLE market.backfills (
    source text PRIMARY KEY,
    position bigint NOT NULL,
    rows bigint NOT NULL DEFAULT 0,
    contradicting bigint NOT NULL DEFAULT 0,
    refused bigint NOT NULL DEFAULT 0,
    done boolean NOT NULL DEFAULT false,
    started_time timestamptz NOT NULL DEFAULT now(),
    updated_time timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE market.backfills IS
    'What was asked of histories and files, how far it is in the journal, and what was quarantined of it.';
COMMENT ON COLUMN market.backfills.source IS
    'What was asked for: of a venue, its market, ticker, dataset and span; of a file, its name and size.';
COMMENT ON COLUMN market.backfills.position IS
    'All before it is in the journal: UTC microseconds of a history, rows of a file.';

INSERT INTO market.open_to_analysts VALUES ('backfills');
GRANT SELECT, INSERT, UPDATE ON market.backfills TO market_operator, market_ingest;
