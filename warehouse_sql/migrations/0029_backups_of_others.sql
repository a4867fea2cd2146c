-- Where others run the server and back it up, we see its archived log, and not their base backups: the
-- place is then 'others', and the window holds without one of ours.

CREATE OR REPLACE FUNCTION market.kept_for_recovery(shard smallint, upto bigint) RETURNS text
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF market.recovery_window() = interval '0' THEN
        RETURN NULL;
    END IF;
    IF NOT EXISTS (SELECT FROM market.backups)
        AND (SELECT place FROM market.recovery) <> 'others' THEN
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
