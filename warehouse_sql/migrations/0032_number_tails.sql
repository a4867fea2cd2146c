-- The tails of what flows write, for an engine that learns the lake's snapshot while its query runs, as
-- 0011 has them for ticks: such a dataset has one row of numbers, which stands as shard 0 in the marks.

CREATE FUNCTION market.make_number_tail(dataset_name text, number_column text) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format($view$
        CREATE VIEW market.%I AS
        SELECT m.snapshot_id, t.*
        FROM market.lake_marks AS m
        CROSS JOIN LATERAL (
            SELECT *
            FROM market.%I AS r
            WHERE r.%I > coalesce((m.through ->> '0')::bigint, 0)
            OFFSET 0
        ) AS t
        WHERE m.dataset = %L
        $view$, dataset_name || '_tail', dataset_name, number_column, dataset_name);
    INSERT INTO market.lake_marks (dataset, snapshot_id, through) VALUES (dataset_name, 0, '{}');
    INSERT INTO market.open_to_analysts VALUES (dataset_name || '_tail');
END
$$;
COMMENT ON FUNCTION market.make_number_tail(text, text) IS
    'Make market.<dataset>_tail, once: the rows of what a flow writes beyond a noted snapshot of the lake.';

SELECT market.make_number_tail('lineage_events', 'event_no');
SELECT market.make_number_tail('quality_results', 'seq');
