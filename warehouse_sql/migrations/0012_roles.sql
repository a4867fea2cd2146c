-- Roles, each with what its work needs and no more. They belong to the whole server and may be there
-- already; `up` gives each home's own a login and a password.

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['market_ingest', 'market_lake_writer', 'market_verifier',
        'market_analyst', 'market_researcher', 'market_operator', 'market_service'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
END
$$;

-- What an analyst may read: market data, what is known of its origin and its gaps, and what a reader
-- needs to tell lake from hot. Not the ledgers, leases, or the store's own books.
CREATE TABLE market.open_to_analysts (name text PRIMARY KEY);
COMMENT ON TABLE market.open_to_analysts IS
    'Tables and views of this schema that analysts, researchers and the service may read.';
INSERT INTO market.open_to_analysts VALUES
    ('crypto_trades'), ('crypto_quotes'), ('crypto_aggregates'), ('market_sentiment'),
    ('instruments'), ('feed_gaps'), ('quarantine'), ('ingest_batches'),
    ('crypto_trades_tail'), ('crypto_quotes_tail'), ('crypto_aggregates_tail'),
    ('market_sentiment_tail'), ('quarantine_tail'), ('ingest_batches_tail'),
    ('crypto_agg_1m'), ('crypto_agg_5m'), ('crypto_agg_1h'), ('crypto_agg_1d'),
    ('shards'), ('lake_marks');

-- At every start: tables and views that have come since are granted too, and strangers lose what the
-- server gives everybody.
CREATE FUNCTION market.grant_roles() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    relation regclass;
BEGIN
    FOR relation IN
        SELECT c.oid FROM pg_class AS c JOIN market.open_to_analysts AS o ON o.name = c.relname
        WHERE c.relnamespace = 'market'::regnamespace
            AND NOT has_table_privilege('market_analyst', c.oid, 'SELECT')
    LOOP
        EXECUTE format('GRANT SELECT ON %s TO market_analyst', relation);
    END LOOP;
    IF to_regclass('market.verify_runs') IS NOT NULL THEN
        GRANT SELECT ON market.verify_runs TO market_service;
        GRANT INSERT, UPDATE, DELETE ON market.verify_runs TO market_verifier, market_operator;
    END IF;
    IF has_database_privilege('market_analyst', current_database(), 'TEMPORARY') THEN
        EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    END IF;
END
$$;

GRANT USAGE ON SCHEMA market, public TO market_analyst;
GRANT SELECT ON public.iceberg_tables, public.iceberg_namespace_properties TO market_analyst;
GRANT market_analyst TO market_researcher, market_service;
GRANT market_reader TO market_ingest, market_lake_writer, market_verifier, market_operator;

-- The service says how fresh things are and what is wrong.
GRANT SELECT ON market.alerts, market.leases TO market_service;

-- A researcher's tables are in a schema of its own.
CREATE SCHEMA IF NOT EXISTS research;
COMMENT ON SCHEMA research IS 'Tables of researchers; nothing of ours reads them.';
GRANT USAGE, CREATE ON SCHEMA research TO market_researcher;
GRANT USAGE ON SCHEMA research TO market_reader, market_analyst;

-- Ingest appends. It closes gaps that it opened, and moves its shard by advance_shard alone.
GRANT INSERT ON market.crypto_trades, market.crypto_quotes, market.crypto_aggregates,
    market.market_sentiment, market.quarantine, market.ingest_batches, market.ledger_minutes,
    market.feed_gaps, market.instruments TO market_ingest;
GRANT UPDATE (gap_to, closed_time, filled) ON market.feed_gaps TO market_ingest;
GRANT INSERT (shard, claims), UPDATE (claims) ON market.shards TO market_ingest;
GRANT INSERT, UPDATE ON market.leases TO market_ingest, market_lake_writer, market_operator;

ALTER FUNCTION market.advance_shard(smallint, text, bigint, bigint, bigint, jsonb)
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
REVOKE EXECUTE ON FUNCTION market.advance_shard(smallint, text, bigint, bigint, bigint, jsonb)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION market.advance_shard(smallint, text, bigint, bigint, bigint, jsonb)
    TO market_ingest, market_operator;

-- Who may take a lease may raise its epoch, and nobody may lower it: that would let a fenced writer
-- in again.
CREATE FUNCTION market.keep_epoch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.epoch < OLD.epoch OR NEW.name <> OLD.name THEN
        RAISE EXCEPTION 'lease % is at epoch %, which never goes down', OLD.name, OLD.epoch;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER keep_epoch BEFORE UPDATE ON market.leases
    FOR EACH ROW EXECUTE FUNCTION market.keep_epoch();

-- Makes one day's partition, cut by ticker where slots are asked for; false when it is there. Ingest
-- may make a day for a late row, but owns none: it can drop none either. CREATE TABLE ... PARTITION
-- OF would lock the parent against writers; ATTACH does not.
CREATE FUNCTION market.make_partition(dataset text, day date, hash_slots int, pinned text[])
    RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name CONSTANT text := dataset || to_char(day, '"_p"YYYYMMDD');
    cut CONSTANT text := CASE WHEN cardinality(pinned) > 0 THEN 'PARTITION BY LIST (ticker)'
        WHEN hash_slots > 0 THEN 'PARTITION BY HASH (ticker)' ELSE '' END;
    rest text := name;
BEGIN
    IF dataset <> ALL (ARRAY['crypto_trades', 'crypto_quotes', 'crypto_aggregates',
        'market_sentiment']) THEN
        RAISE EXCEPTION '% has no partitions', dataset;
    END IF;
    PERFORM pg_advisory_xact_lock(1885434484, hashtext(dataset));
    IF to_regclass(format('market.%I', name)) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format(
        'CREATE TABLE market.%I (LIKE market.%I INCLUDING ALL EXCLUDING INDEXES EXCLUDING COMMENTS) %s',
        name, dataset, cut);
    IF cardinality(pinned) > 0 THEN
        rest := name || '_rest';
        FOR i IN 1 .. cardinality(pinned) LOOP
            EXECUTE format('CREATE TABLE market.%I PARTITION OF market.%I FOR VALUES IN (%L)',
                name || '_t' || i - 1, name, pinned[i]);
        END LOOP;
        EXECUTE format(
            'CREATE TABLE market.%I PARTITION OF market.%I DEFAULT PARTITION BY HASH (ticker)',
            rest, name);
    END IF;
    FOR i IN 0 .. hash_slots - 1 LOOP
        EXECUTE format('CREATE TABLE market.%I PARTITION OF market.%I'
            ' FOR VALUES WITH (MODULUS %s, REMAINDER %s)', name || '_h' || i, rest, hash_slots, i);
    END LOOP;
    EXECUTE format('ALTER TABLE market.%I ATTACH PARTITION market.%I FOR VALUES FROM (%L) TO (%L)',
        dataset, name, to_char(day, 'YYYY-MM-DD') || ' 00:00:00+00',
        to_char(day + 1, 'YYYY-MM-DD') || ' 00:00:00+00');
    RETURN true;
END
$$;
REVOKE EXECUTE ON FUNCTION market.make_partition(text, date, int, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION market.make_partition(text, date, int, text[])
    TO market_ingest, market_operator;

-- The catalog's rows by namespace: the committer's tables are in market, a researcher's in research.
ALTER FUNCTION market.fence_catalog() SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
INSERT INTO public.iceberg_namespace_properties VALUES ('ticklake', 'research', 'exists', 'true')
    ON CONFLICT DO NOTHING;
GRANT INSERT, UPDATE ON public.iceberg_tables, public.iceberg_namespace_properties
    TO market_lake_writer;
GRANT INSERT, UPDATE, DELETE ON public.iceberg_tables, public.iceberg_namespace_properties
    TO market_researcher, market_operator;

ALTER TABLE public.iceberg_tables ENABLE ROW LEVEL SECURITY;
CREATE POLICY everybody_reads ON public.iceberg_tables FOR SELECT USING (true);
CREATE POLICY committer ON public.iceberg_tables TO market_lake_writer
    USING (table_namespace = 'market') WITH CHECK (table_namespace = 'market');
CREATE POLICY researcher ON public.iceberg_tables TO market_researcher
    USING (table_namespace = 'research') WITH CHECK (table_namespace = 'research');
CREATE POLICY operator ON public.iceberg_tables TO market_operator USING (true) WITH CHECK (true);

ALTER TABLE public.iceberg_namespace_properties ENABLE ROW LEVEL SECURITY;
CREATE POLICY everybody_reads ON public.iceberg_namespace_properties FOR SELECT USING (true);
CREATE POLICY committer ON public.iceberg_namespace_properties TO market_lake_writer
    USING (namespace = 'market') WITH CHECK (namespace = 'market');
CREATE POLICY researcher ON public.iceberg_namespace_properties TO market_researcher
    USING (namespace = 'research') WITH CHECK (namespace = 'research');
CREATE POLICY operator ON public.iceberg_namespace_properties TO market_operator
    USING (true) WITH CHECK (true);

-- The committer's marks and its book of files to remove.
GRANT INSERT, UPDATE, DELETE ON market.lake_marks, market.lake_removals
    TO market_lake_writer, market_operator;

-- What verify has proven and sealed.
GRANT INSERT, UPDATE, DELETE ON market.verified_frames, market.verified_units,
    market.verified_files TO market_verifier, market_operator;
GRANT INSERT, UPDATE, DELETE ON market.alerts TO market_verifier;
GRANT INSERT ON market.sealed_segments TO market_verifier, market_operator;

-- Bars, days that leave, alerts.
GRANT INSERT, UPDATE, DELETE ON market.roll_1m, market.roll_5m, market.roll_1h, market.roll_1d,
    market.roll_marks, market.alerts, market.pinned_tickers TO market_operator;
GRANT INSERT ON market.dropped_partitions TO market_operator;
