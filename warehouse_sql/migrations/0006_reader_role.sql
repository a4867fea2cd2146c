-- Reads everything, writes nothing; grant it to a login. Roles belong to the whole server, so it
-- may be there already.

DO $$
BEGIN
    CREATE ROLE market_reader NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;

GRANT USAGE ON SCHEMA market, public TO market_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA market TO market_reader;
GRANT SELECT ON public.iceberg_tables, public.iceberg_namespace_properties TO market_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA market GRANT SELECT ON TABLES TO market_reader;
