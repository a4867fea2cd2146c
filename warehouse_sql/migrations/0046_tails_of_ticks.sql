-- The tails of ticks end before what only a file holds yet; and, where the server compresses old chunks,
-- say since when their rows can be.
--
-- The end: rows of history in bulk are in staged files until the lake's next commit, where the engine
-- that asks for a tail can't read them. Hot rows of later frames wait for that commit too: what is seen of
-- a shard is all of it up to a frame.
--
-- Since when: every row's minute stands in the ledger of its batch, so no row beyond a snapshot is older
-- than the oldest minute that was written beyond it. That leaves out whole days: compressed chunks know no
-- bounds of a place, and would all be decompressed. Elsewhere the index of places says as much for less, and
-- a late row would tempt PostgreSQL to read a day by its time.
CREATE FUNCTION market.make_tick_tails(by_time boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    tail record;
BEGIN
    FOR tail IN SELECT * FROM (VALUES
        ('crypto_trades', 't.ticker, t.exchange, t.market, t.trade_id, t.event_time, t.received_time, t.price, t.size, t.side, t.conditions, t.shard, t.seq'),
        ('crypto_quotes', 't.ticker, t.exchange, t.market, t.event_time, t.received_time, t.event_time_source, t.bid_price, t.bid_size, t.ask_price, t.ask_size, t.venue_sequence, t.shard, t.seq'),
        ('crypto_aggregates', 't.ticker, t.exchange, t.market, t.event_time, t.received_time, t."interval", t."open", t.high, t.low, t."close", t.volume, t.vwap, t.average_trade_size, t.shard, t.seq'),
        ('market_sentiment', 't.asset, t.source, t.event_time, t.received_time, t.sentiment_score, t.confidence, t.metadata, t.shard, t.seq')
    ) AS d (name, columns)
    LOOP
        CONTINUE WHEN (SELECT d.definition LIKE '%staged_files%'
                AND (d.definition LIKE '%ledger_minutes%') = by_time
            FROM pg_get_viewdef(format('market.%I', tail.name || '_tail')::regclass)
                AS d (definition));
        EXECUTE format($view$
            CREATE OR REPLACE VIEW market.%1$I AS
            SELECT m.snapshot_id, %2$s
            FROM market.lake_marks AS m
            CROSS JOIN market.shards AS s
            CROSS JOIN LATERAL (
                SELECT coalesce((m.through ->> s.shard::text)::bigint, -1) AS through OFFSET 0
            ) AS n
            CROSS JOIN LATERAL (
                SELECT min(f.first_frame) AS frame
                FROM market.staged_files AS f
                WHERE f.dataset = %3$L AND f.shard = s.shard AND f.last_frame > n.through
            ) AS staged
            %4$s
            CROSS JOIN LATERAL (
                SELECT *
                FROM market.%3$I AS r
                WHERE market.place(r.shard, r.seq) > market.place(s.shard, 0) + n.through
                    AND market.place(r.shard, r.seq) < coalesce(
                        market.place(s.shard, 0) + staged.frame,
                        market.place((s.shard + 1)::smallint, 0))
                    %5$s
                OFFSET 0
            ) AS t
            WHERE m.dataset = %3$L
            $view$, tail.name || '_tail', tail.columns, tail.name,
            CASE WHEN by_time THEN format($since$
                CROSS JOIN LATERAL (
                    SELECT min(l.minute) AS minute
                    FROM market.ledger_minutes AS l
                    WHERE l.shard = s.shard AND l.seq >= (n.through + 1) << 16 AND l.dataset = %L
                ) AS since $since$, tail.name) ELSE '' END,
            CASE WHEN by_time THEN 'AND r.event_time >= since.minute' ELSE '' END);
    END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION market.make_tick_tails(boolean) FROM PUBLIC;

SELECT market.make_tick_tails(false);
