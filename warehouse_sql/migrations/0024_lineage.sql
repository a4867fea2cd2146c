-- Lineage: what ran, what it read and wrote; and how far a receiver of OpenLineage events has got them.

CREATE TABLE market.lineage_events (
    event_no bigint NOT NULL,
    event_time timestamptz NOT NULL,
    event_type text NOT NULL,
    run_id text NOT NULL,
    job text NOT NULL,
    reads text NOT NULL,
    writes text NOT NULL,
    snapshots text NOT NULL,
    event text NOT NULL,
    PRIMARY KEY (event_no)
);
COMMENT ON TABLE market.lineage_events IS 'What ran, what it read and wrote, and which column was made of which.';
COMMENT ON COLUMN market.lineage_events.event_no IS
    'Place of the event in the table: 1, 2, 3, in the order in which they were written, without a hole.';
COMMENT ON COLUMN market.lineage_events.event_time IS
    'When the run did what it tells. [microseconds, UTC]';
COMMENT ON COLUMN market.lineage_events.event_type IS
    'START, RUNNING, COMPLETE, FAIL or ABORT.';
COMMENT ON COLUMN market.lineage_events.run_id IS
    'UUID of the run: the events of one run have the same.';
COMMENT ON COLUMN market.lineage_events.job IS
    'What ran, for instance trades_to_bars.';
COMMENT ON COLUMN market.lineage_events.reads IS
    'What it reads, by where it rests, as a JSON array of names such as lake.market.bars.';
COMMENT ON COLUMN market.lineage_events.writes IS
    'What it writes, likewise.';
COMMENT ON COLUMN market.lineage_events.snapshots IS
    'Name to Iceberg snapshot id, as JSON, of what it wrote to the lake.';
COMMENT ON COLUMN market.lineage_events.event IS
    'The whole event as OpenLineage JSON, with schemas and the lineage of each column.';

-- Events are added and never changed. They are numbered under a lock, so that whoever has read up to a
-- number has read all below it.
CREATE FUNCTION market.note_lineage(events jsonb) RETURNS bigint LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    last bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('market.lineage_events', 0));
    SELECT coalesce(max(e.event_no), 0) INTO last FROM market.lineage_events AS e;
    INSERT INTO market.lineage_events
        SELECT last + n, (e ->> 'event_time')::timestamptz, e ->> 'event_type', e ->> 'run_id',
            e ->> 'job', e ->> 'reads', e ->> 'writes', e ->> 'snapshots', e ->> 'event'
        FROM jsonb_array_elements(events) WITH ORDINALITY AS each(e, n);
    RETURN last + jsonb_array_length(events);
END
$$;
REVOKE EXECUTE ON FUNCTION market.note_lineage(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION market.note_lineage(jsonb)
    TO market_ingest, market_lake_writer, market_operator;

CREATE TABLE market.lineage_sent (
    endpoint text PRIMARY KEY,
    through bigint NOT NULL,
    sent bigint NOT NULL,
    dropped bigint NOT NULL,
    refused bigint NOT NULL,
    fault text,
    at timestamptz NOT NULL
);
COMMENT ON TABLE market.lineage_sent IS
    'Receivers of OpenLineage events: through which event they are dealt with, how many were sent, dropped because too many waited, refused; what went wrong last.';
GRANT INSERT, UPDATE ON market.lineage_sent TO market_operator;

INSERT INTO market.open_to_analysts VALUES ('lineage_events');
