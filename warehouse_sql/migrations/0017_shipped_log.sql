-- Where backups rest in a bucket, the log is there once it was shipped, and not before.

ALTER TABLE market.recovery ADD COLUMN shipped_upto pg_lsn;
COMMENT ON COLUMN market.recovery.shipped_upto IS
    'How far the log is in the bucket; null where backups rest in a folder.';

-- The end of a segment of the database's log, by its file's name; null for other files.
CREATE FUNCTION market.end_of_segment(file text) RETURNS pg_lsn LANGUAGE sql STABLE
    RETURN CASE WHEN file ~ '^[0-9A-F]{24}' THEN '0/0'::pg_lsn
        + pg_size_bytes(current_setting('wal_segment_size')) * (1
            + ('x' || substr(file, 17, 8))::bit(32)::bigint
            + ('x' || substr(file, 9, 8))::bit(32)::bigint
                * (4294967296 / pg_size_bytes(current_setting('wal_segment_size'))))::numeric END;

-- How far the log is where backups rest.
CREATE FUNCTION market.safe_upto() RETURNS pg_lsn LANGUAGE sql STABLE
    RETURN (SELECT CASE WHEN place LIKE '%://%' THEN shipped_upto ELSE market.archived_upto() END
        FROM market.recovery);

CREATE OR REPLACE FUNCTION market.kept_for_recovery(shard smallint, upto bigint) RETURNS text
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
        > coalesce(market.safe_upto(), '0/0') THEN
        RETURN 'its seal is not yet in the archived log';
    END IF;
    RETURN NULL;
END
$$;
