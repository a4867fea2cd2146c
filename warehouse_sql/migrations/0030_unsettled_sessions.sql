-- Whose changes verify's counters may still lack: a session hands its counters over when it ends, and
-- some seconds after it became idle. Only a superuser or pg_read_all_stats sees what the sessions of
-- others do, and the verifier is neither, so the owner counts for it. What even the owner may not see
-- (where it is no superuser) counts as unsettled: that costs a reading, never a finding.
CREATE FUNCTION market.unsettled_sessions(idle_s int) RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT count(*) FROM pg_catalog.pg_stat_activity
    WHERE coalesce(backend_type, 'client backend') = 'client backend' AND usesysid IS NOT NULL
        AND datname = current_database() AND pid <> pg_backend_pid()
        AND coalesce(application_name, '') NOT LIKE 'ticklake%'
        AND NOT coalesce(
            state = 'idle' AND state_change < clock_timestamp() - make_interval(secs => idle_s),
            false)
$$;
COMMENT ON FUNCTION market.unsettled_sessions(int) IS
    'Sessions of others in this database, ticklake''s own apart, that were not idle for idle_s.';
REVOKE EXECUTE ON FUNCTION market.unsettled_sessions(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION market.unsettled_sessions(int) TO market_verifier;
