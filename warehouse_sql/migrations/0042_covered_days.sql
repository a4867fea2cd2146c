-- Since when the lake is seen to hold a hot day whole: the day leaves a grace after that, so that no
-- query that began on an older lake misses its rows.

CREATE TABLE market.covered_days (
    dataset text NOT NULL,
    day date NOT NULL,
    frames jsonb NOT NULL,
    seen_time timestamptz NOT NULL,
    PRIMARY KEY (dataset, day)
);
COMMENT ON TABLE market.covered_days IS
    'Hot days whose age has come: shard -> last frame with rows of the day, and when the lake was first seen to hold them all. Gone with the day.';
GRANT SELECT, INSERT, UPDATE, DELETE ON market.covered_days TO market_operator;
