-- Quality: what each run found, how far the runs have looked, and the models that they ask.

CREATE TABLE market.quality_results (
    run_id bigint NOT NULL,
    dataset text NOT NULL,
    rule text NOT NULL,
    kind text NOT NULL,
    dimension text NOT NULL,
    severity text NOT NULL,
    status text NOT NULL,
    rows_checked bigint NOT NULL,
    rows_failed bigint NOT NULL,
    rows_at_fault text,
    meaning text NOT NULL,
    remedy text NOT NULL,
    version text NOT NULL,
    from_time timestamptz,
    to_time timestamptz,
    checked_time timestamptz NOT NULL,
    shard smallint NOT NULL,
    seq bigint NOT NULL
);
COMMENT ON TABLE market.quality_results IS 'What each run of the quality checks found, rule by rule, with the rows at fault.';
COMMENT ON COLUMN market.quality_results.run_id IS
    'Number of the run, rising.';
COMMENT ON COLUMN market.quality_results.dataset IS
    'Dataset that was looked at.';
COMMENT ON COLUMN market.quality_results.rule IS
    'Rule, for instance price_positive or price_jump.';
COMMENT ON COLUMN market.quality_results.kind IS
    'contract, market, model or schema: where the rule comes from.';
COMMENT ON COLUMN market.quality_results.dimension IS
    'Dimension of quality, for instance accuracy.';
COMMENT ON COLUMN market.quality_results.severity IS
    'error: the data are wrong; warning: they are unusual, and stay as they are.';
COMMENT ON COLUMN market.quality_results.status IS
    'passed or failed.';
COMMENT ON COLUMN market.quality_results.rows_checked IS
    'Rows that the rule looked at.';
COMMENT ON COLUMN market.quality_results.rows_failed IS
    'Rows that break it.';
COMMENT ON COLUMN market.quality_results.rows_at_fault IS
    'Rows that break it, a JSON list of objects with key and values, a thousand at most; null: none.';
COMMENT ON COLUMN market.quality_results.meaning IS
    'What the rule asks, in words.';
COMMENT ON COLUMN market.quality_results.remedy IS
    'What to do when rows break it.';
COMMENT ON COLUMN market.quality_results.version IS
    'Version of the contract or of the anomaly model that was asked.';
COMMENT ON COLUMN market.quality_results.from_time IS
    'Smallest event time of the rows checked; null: none was. [microseconds, UTC]';
COMMENT ON COLUMN market.quality_results.to_time IS
    'Largest event time of the rows checked; null: none was. [microseconds, UTC]';
COMMENT ON COLUMN market.quality_results.checked_time IS
    'When the run was made. [microseconds, UTC]';
COMMENT ON COLUMN market.quality_results.shard IS
    'Always -1: no journal holds it.';
COMMENT ON COLUMN market.quality_results.seq IS
    'run_id << 16 | index in the run.';
CREATE INDEX quality_results_seq ON market.quality_results (seq);
CREATE INDEX quality_results_failed ON market.quality_results (dataset, rule, run_id)
    WHERE status = 'failed';

CREATE TABLE market.quality_marks (shard smallint PRIMARY KEY, mark bigint NOT NULL);
COMMENT ON TABLE market.quality_marks IS
    'How far quality has looked: of a shard its last frame; under -1 the time in microseconds before which bars were looked at.';

CREATE TABLE market.quality_runs (
    run_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started_time timestamptz NOT NULL
);
COMMENT ON TABLE market.quality_runs IS
    'Numbers of the runs of quality; a number without results is a run that was broken off.';

CREATE TABLE market.quality_models (
    "interval" text NOT NULL,
    version integer NOT NULL,
    trained_time timestamptz NOT NULL,
    bars bigint NOT NULL,
    from_time timestamptz NOT NULL,
    to_time timestamptz NOT NULL,
    parameters jsonb NOT NULL,
    PRIMARY KEY ("interval", version)
);
COMMENT ON TABLE market.quality_models IS
    'Anomaly models of bars, each version as numbers that can be read; the newest of an interval is asked.';

INSERT INTO market.open_to_analysts VALUES ('quality_results'), ('quality_models');
GRANT INSERT, DELETE ON market.quality_results, market.quality_models TO market_operator;
GRANT INSERT, UPDATE ON market.quality_marks TO market_operator;
GRANT INSERT ON market.quality_runs TO market_operator;

-- Quarantine by hand: what somebody decided, and batches of made rows that were held back for it.

CREATE TABLE market.quarantine_decisions (
    thing text NOT NULL,
    decision text NOT NULL,
    reason text NOT NULL,
    decided_by text NOT NULL,
    decided_time timestamptz NOT NULL,
    released_shard smallint,
    released_frame bigint,
    PRIMARY KEY (thing)
);
COMMENT ON TABLE market.quarantine_decisions IS 'What somebody decided about an event in quarantine or a batch that was held back.';
COMMENT ON COLUMN market.quarantine_decisions.thing IS
    'What was decided about: SHARD:SEQ of a quarantined event, or batch-N.';
COMMENT ON COLUMN market.quarantine_decisions.decision IS
    'released or refused.';
COMMENT ON COLUMN market.quarantine_decisions.reason IS
    'Why, in the words of who decided.';
COMMENT ON COLUMN market.quarantine_decisions.decided_by IS
    'Who decided.';
COMMENT ON COLUMN market.quarantine_decisions.decided_time IS
    'When. [microseconds, UTC]';
COMMENT ON COLUMN market.quarantine_decisions.released_shard IS
    'Shard whose journal took the event in again; null: none.';
COMMENT ON COLUMN market.quarantine_decisions.released_frame IS
    'Frame of that journal that holds it; null: none.';

CREATE TABLE market.held_batches (
    batch_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dataset text NOT NULL,
    fingerprint text NOT NULL,
    faults text NOT NULL,
    rows_at_fault jsonb NOT NULL,
    held_time timestamptz NOT NULL,
    UNIQUE (dataset, fingerprint)
);
COMMENT ON TABLE market.held_batches IS
    'Batches that broke a rule before anybody could read them: the rows at fault and their fingerprint.';

INSERT INTO market.open_to_analysts VALUES ('quarantine_decisions'), ('held_batches');
GRANT INSERT, UPDATE ON market.quarantine_decisions TO market_operator;
GRANT INSERT ON market.held_batches TO market_operator;
