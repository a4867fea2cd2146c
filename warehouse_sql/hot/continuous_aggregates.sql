-- crypto_agg_1m, _5m, _1h, _1d as continuous aggregates, each over the one before.
-- What came first at one microsecond is said by seq: both make one number (a microsecond is 1e19,
-- more than any seq), since the server knows no order of pairs.
-- grain: ticker, exchange, market, bucket; time column: bucket; engine: TimescaleDB Community
CREATE MATERIALIZED VIEW market.crypto_agg_1m
    WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
    SELECT ticker, exchange, market, time_bucket('1 minute', event_time) AS bucket,
        first(price,
            extract(epoch FROM event_time - timestamptz '1970-01-01 00:00:00+00') * 1e25 + seq) AS "open",
        max(price) AS high, min(price) AS low,
        last(price,
            extract(epoch FROM event_time - timestamptz '1970-01-01 00:00:00+00') * 1e25 + seq) AS "close",
        sum(size) AS volume, sum(price * size) AS turnover,
        round(sum(price * size) / nullif(sum(size), 0), 10) AS vwap, count(*) AS trades,
        coalesce(sum(size) FILTER (WHERE side = 'buy'), 0) AS buy_volume,
        coalesce(sum(size) FILTER (WHERE side = 'sell'), 0) AS sell_volume
    FROM market.crypto_trades
    WHERE conditions IS NULL OR conditions NOT IN ('INSURANCE_FUND', 'ADL', 'NA')
    GROUP BY 1, 2, 3, 4 WITH NO DATA;
CREATE MATERIALIZED VIEW market.crypto_agg_5m
    WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
    SELECT ticker, exchange, market, time_bucket('5 minutes', bucket) AS bucket,
        first("open", bucket) AS "open", max(high) AS high, min(low) AS low,
        last("close", bucket) AS "close", sum(volume) AS volume, sum(turnover) AS turnover,
        round(sum(turnover) / nullif(sum(volume), 0), 10) AS vwap, sum(trades)::bigint AS trades,
        sum(buy_volume) AS buy_volume, sum(sell_volume) AS sell_volume
    FROM market.crypto_agg_1m GROUP BY 1, 2, 3, 4 WITH NO DATA;
CREATE MATERIALIZED VIEW market.crypto_agg_1h
    WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
    SELECT ticker, exchange, market, time_bucket('1 hour', bucket) AS bucket,
        first("open", bucket) AS "open", max(high) AS high, min(low) AS low,
        last("close", bucket) AS "close", sum(volume) AS volume, sum(turnover) AS turnover,
        round(sum(turnover) / nullif(sum(volume), 0), 10) AS vwap, sum(trades)::bigint AS trades,
        sum(buy_volume) AS buy_volume, sum(sell_volume) AS sell_volume
    FROM market.crypto_agg_5m GROUP BY 1, 2, 3, 4 WITH NO DATA;
CREATE MATERIALIZED VIEW market.crypto_agg_1d
    WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
    SELECT ticker, exchange, market, time_bucket('1 day', bucket) AS bucket,
        first("open", bucket) AS "open", max(high) AS high, min(low) AS low,
        last("close", bucket) AS "close", sum(volume) AS volume, sum(turnover) AS turnover,
        round(sum(turnover) / nullif(sum(volume), 0), 10) AS vwap, sum(trades)::bigint AS trades,
        sum(buy_volume) AS buy_volume, sum(sell_volume) AS sell_volume
    FROM market.crypto_agg_1h GROUP BY 1, 2, 3, 4 WITH NO DATA;
