-- Rows that left the lake for the archive, and what each tier holds and costs.

CREATE TABLE market.archive_files (
    dataset text NOT NULL,
    number bigint NOT NULL,
    day date NOT NULL,
    path text NOT NULL,
    bytes bigint NOT NULL,
    sha256 text NOT NULL,
    rows bigint NOT NULL,
    sum_a numeric(38, 10) NOT NULL,
    sum_b numeric(38, 10) NOT NULL,
    digest numeric(38, 0) NOT NULL,
    came_at timestamptz NOT NULL,
    archived_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (dataset, number)
);
CREATE INDEX ON market.archive_files (dataset, day);
COMMENT ON TABLE market.archive_files IS
    'Files of the archive, by dataset and UTC day. A file''s rows have left the lake once the '
    'table''s property ticklake.left has reached its number; the ledger then counts them as left. '
    'came_at: when the day''s last row was stored; deleted_at: when the archive age let it go.';

CREATE TABLE market.tier_sizes (
    measured_at timestamptz NOT NULL,
    tier text NOT NULL,
    dataset text NOT NULL,
    rows bigint NOT NULL,
    bytes bigint NOT NULL,
    dollars_month numeric(18, 6) NOT NULL,
    PRIMARY KEY (measured_at, tier, dataset)
);
COMMENT ON TABLE market.tier_sizes IS
    'What each tier held of each dataset when retention last ran, and what that costs a month by '
    'the assumptions of `ticklake cost`; of the last 400 days.';

GRANT INSERT, UPDATE, DELETE ON market.archive_files, market.tier_sizes TO market_operator;
GRANT SELECT ON market.tier_sizes TO market_service;
