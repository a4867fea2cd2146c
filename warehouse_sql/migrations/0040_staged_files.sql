-- Files of the lake that hold rows of a batch which never were in the hot tier: history in bulk. A row
-- is written in the batch's own transaction; `through` of the lake's table says whether it holds them.

CREATE TABLE market.staged_files (
    dataset text NOT NULL,
    shard smallint NOT NULL,
    first_frame bigint NOT NULL,
    last_frame bigint NOT NULL,
    day date NOT NULL,
    path text NOT NULL,
    rows bigint NOT NULL,
    digest numeric(38, 0) NOT NULL,
    in_lake_time timestamptz,
    PRIMARY KEY (dataset, shard, last_frame, day)
);
CREATE UNIQUE INDEX ON market.staged_files (path);
CREATE INDEX ON market.staged_files (in_lake_time);
CREATE INDEX ON market.staged_files (shard) WHERE in_lake_time IS NULL;
COMMENT ON TABLE market.staged_files IS
    'Per file that a batch of history wrote for the lake beside the hot tier: frames, UTC day, rows '
    'and digest by the ledger. in_lake_time: when the committer first saw that the table holds it.';

INSERT INTO market.open_to_analysts VALUES ('staged_files');
GRANT INSERT (dataset, shard, first_frame, last_frame, day, path, rows, digest)
    ON market.staged_files TO market_ingest;
GRANT UPDATE (in_lake_time) ON market.staged_files TO market_lake_writer, market_operator;

-- A committer of before would move `through` past frames whose staged files it does not append, and
-- any mover of before may become the committer: all of them are fenced, and end.
UPDATE market.leases SET epoch = epoch + 1, owner = NULL, pid = NULL, heartbeat = NULL
    WHERE name = 'committer' OR name LIKE 'shard-%';

-- A file that waits for its removal can't be staged: its batch is built anew, with files of its own.
CREATE FUNCTION market.refuse_freed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM market.lake_removals AS r WHERE r.path = NEW.path) THEN
        RAISE EXCEPTION 'staged file % waits for its removal', NEW.path;
    END IF;
    RETURN NEW;
END
$$;
REVOKE EXECUTE ON FUNCTION market.refuse_freed() FROM PUBLIC;
CREATE TRIGGER refuse_freed BEFORE INSERT ON market.staged_files
    FOR EACH ROW EXECUTE FUNCTION market.refuse_freed();
