-- The bars of the hot tier beyond a noted snapshot of the lake's, for an engine that learns the
-- snapshot while its query runs, as 0011 has it for ticks. Typed as the contract of bars: Trino shows
-- no column whose numeric has no bounds.

ALTER TABLE market.lake_marks ADD COLUMN closed_us bigint;
COMMENT ON COLUMN market.lake_marks.closed_us IS
    'Of bars: the time before which every bucket is closed. Null elsewhere. [microseconds since 1970, UTC]';
INSERT INTO market.lake_marks (dataset, snapshot_id, through, closed_us) VALUES ('bars', 0, '{}', 0);

-- crypto_agg_* are made after the migrations, as the server can; so are these, where they lack.
CREATE FUNCTION market.make_bar_tails() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    level record;
BEGIN
    FOR level IN SELECT * FROM (VALUES ('crypto_agg_1m', 60), ('crypto_agg_5m', 300),
        ('crypto_agg_1h', 3600), ('crypto_agg_1d', 86400)) AS l (name, width_s)
    LOOP
        CONTINUE WHEN to_regclass(format('market.%I', level.name || '_tail')) IS NOT NULL;
        EXECUTE format($view$
            CREATE VIEW market.%I AS
            SELECT m.snapshot_id, t.ticker, t.exchange, t.market, t.bucket,
                t."open"::numeric(28, 10) AS "open", t.high::numeric(28, 10) AS high,
                t.low::numeric(28, 10) AS low, t."close"::numeric(28, 10) AS "close",
                t.volume::numeric(28, 10) AS volume, t.turnover::numeric(38, 20) AS turnover,
                t.vwap::numeric(28, 10) AS vwap, t.trades,
                t.buy_volume::numeric(28, 10) AS buy_volume,
                t.sell_volume::numeric(28, 10) AS sell_volume
            FROM market.lake_marks AS m
            CROSS JOIN LATERAL (
                SELECT *
                FROM market.%I AS r
                WHERE r.bucket > to_timestamp(m.closed_us / 1e6 - %s)
                OFFSET 0
            ) AS t
            WHERE m.dataset = 'bars'
            $view$, level.name || '_tail', level.name, level.width_s);
    END LOOP;
END
$$;

INSERT INTO market.open_to_analysts VALUES
    ('crypto_agg_1m_tail'), ('crypto_agg_5m_tail'), ('crypto_agg_1h_tail'), ('crypto_agg_1d_tail');
