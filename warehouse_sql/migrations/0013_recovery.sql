-- Backups, the recovery window, and what a restore must not let back in.

CREATE TABLE market.recovery (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    window_hours int NOT NULL,
    place text NOT NULL
);
COMMENT ON TABLE market.recovery IS
    'Where backups are on: where they lie, and how far back a restore must be able to go. Files of '
    'the lake and segments of the journal that such a restore needs are kept. No row: they are off.';

CREATE TABLE market.backups (
    name text PRIMARY KEY,
    began_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL
);
COMMENT ON TABLE market.backups IS 'Base backups that were completed and not deleted since.';

-- A restore begins a new incarnation of the store. Its number comes from outside of what is restored:
-- a database that goes back twice must not give one number twice.
CREATE TABLE market.incarnations (
    incarnation bigint PRIMARY KEY,
    began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    restored_to timestamptz,
    was_written jsonb NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE market.incarnations IS
    'One row per life of this store: when it began, to what moment it was restored, and per shard '
    'the last frame that was known to be stored before.';
INSERT INTO market.incarnations (incarnation) VALUES (0);

-- An epoch is a million times the incarnation and a count: every writer of an earlier incarnation is
-- fenced, by leases that are there and by leases that will be.
CREATE FUNCTION market.epoch_floor() RETURNS bigint LANGUAGE sql STABLE
    RETURN (SELECT max(incarnation) * 1000000 FROM market.incarnations);
ALTER TABLE market.leases ALTER COLUMN epoch SET DEFAULT market.epoch_floor();

CREATE FUNCTION market.begin_incarnation(
    number bigint, restored_to timestamptz, was_written jsonb
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO market.incarnations (incarnation, restored_to, was_written)
        VALUES (number, begin_incarnation.restored_to, begin_incarnation.was_written);
    UPDATE market.leases SET epoch = number * 1000000, owner = NULL, pid = NULL, heartbeat = NULL;
    -- The server's counters began anew, files of the lake may have changed: nothing is proven.
    DELETE FROM market.verified_frames;
    DELETE FROM market.verified_units;
    DELETE FROM market.verified_files;
END
$$;
REVOKE EXECUTE ON FUNCTION market.begin_incarnation(bigint, timestamptz, jsonb) FROM PUBLIC;

-- How long what was let go of must stay: nothing where backups are off.
CREATE FUNCTION market.recovery_window() RETURNS interval LANGUAGE sql STABLE
    RETURN coalesce((SELECT make_interval(hours => window_hours) FROM market.recovery),
        interval '0');

-- The end of the last segment of the database's log that is archived; null where none is known.
CREATE FUNCTION market.archived_upto() RETURNS pg_lsn LANGUAGE sql STABLE
    RETURN (SELECT '0/0'::pg_lsn + pg_size_bytes(current_setting('wal_segment_size')) * (1
            + ('x' || substr(last_archived_wal, 17, 8))::bit(32)::bigint
            + ('x' || substr(last_archived_wal, 9, 8))::bit(32)::bigint
                * (4294967296 / pg_size_bytes(current_setting('wal_segment_size'))))::numeric
        FROM pg_stat_archiver WHERE last_archived_wal ~ '^[0-9A-F]{24}');

ALTER TABLE market.sealed_segments
    ADD COLUMN sealed_lsn pg_lsn NOT NULL DEFAULT pg_current_wal_insert_lsn();
COMMENT ON COLUMN market.sealed_segments.sealed_lsn IS
    'Where the database''s log was when the stretch was sealed: its segment goes once that is '
    'archived, where backups are on.';

-- Why the sealed frames of a shard through upto must still be kept; null: they may go.
CREATE FUNCTION market.kept_for_recovery(shard smallint, upto bigint) RETURNS text
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF market.recovery_window() = interval '0' THEN
        RETURN NULL;
    END IF;
    IF NOT EXISTS (SELECT FROM market.backups) THEN
        RETURN 'no base backup yet';
    END IF;
    IF EXISTS (SELECT FROM market.ingest_batches AS b WHERE b.shard = kept_for_recovery.shard
        AND b.last_frame >= upto AND b.first_frame <= upto
        AND b.committed_time > now() - market.recovery_window()) THEN
        RETURN 'inside the recovery window';
    END IF;
    IF (SELECT max(s.sealed_lsn) FROM market.sealed_segments AS s
        WHERE s.shard = kept_for_recovery.shard AND s.first_frame <= upto)
        > coalesce(market.archived_upto(), '0/0') THEN
        RETURN 'its seal is not yet in the archived log';
    END IF;
    RETURN NULL;
END
$$;

GRANT INSERT, UPDATE, DELETE ON market.recovery, market.backups TO market_operator;
