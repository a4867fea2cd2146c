-- What each run of `ticklake verify` found, for whoever watches. Deleting these rows costs nothing.

CREATE TABLE market.verify_runs (
    ran_at timestamptz PRIMARY KEY,
    took_ms bigint NOT NULL,
    whole boolean NOT NULL,
    holds boolean NOT NULL,
    events bigint NOT NULL,
    rows_read bigint NOT NULL,
    lost bigint NOT NULL,
    duplicated bigint NOT NULL,
    faults int NOT NULL
);
COMMENT ON TABLE market.verify_runs IS
    'Runs of the loss ledger''s check, newest 1,000: whole is true where no earlier proof was trusted.';
