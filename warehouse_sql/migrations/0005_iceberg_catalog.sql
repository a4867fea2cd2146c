-- The catalog as pyiceberg's SqlCatalog makes it, made here so that the fence stands on it.

CREATE TABLE IF NOT EXISTS public.iceberg_tables (
    catalog_name varchar(255) NOT NULL,
    table_namespace varchar(255) NOT NULL,
    table_name varchar(255) NOT NULL,
    metadata_location varchar(1000),
    previous_metadata_location varchar(1000),
    iceberg_type varchar(5),
    PRIMARY KEY (catalog_name, table_namespace, table_name)
);

CREATE TABLE IF NOT EXISTS public.iceberg_namespace_properties (
    catalog_name varchar(255) NOT NULL,
    namespace varchar(255) NOT NULL,
    property_key varchar(255) NOT NULL,
    property_value varchar(1000) NOT NULL,
    PRIMARY KEY (catalog_name, namespace, property_key)
);

-- A committer names its epoch in the setting ticklake.epoch; maintenance by others names none.
-- pyiceberg asserts the branch head only, so a committer that lost its lease is stopped here.
CREATE FUNCTION market.fence_catalog() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    mine CONSTANT text := coalesce(current_setting('ticklake.epoch', true), '');
    held bigint;
BEGIN
    IF mine <> '' THEN
        SELECT l.epoch INTO held FROM market.leases AS l WHERE l.name = 'committer' FOR SHARE;
        IF held IS DISTINCT FROM mine::bigint THEN
            RAISE EXCEPTION 'fenced: lease committer is at epoch %, this committer holds %',
                coalesce(held::text, 'none'), mine
                USING ERRCODE = 'TL001';
        END IF;
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END
$$;

CREATE TRIGGER fence_catalog BEFORE INSERT OR UPDATE OR DELETE ON public.iceberg_tables
    FOR EACH ROW EXECUTE FUNCTION market.fence_catalog();
