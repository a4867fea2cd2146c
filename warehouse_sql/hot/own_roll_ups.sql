-- crypto_agg_1m, _5m, _1h, _1d over the roll-ups that ticklake keeps.
-- grain: ticker, exchange, market, bucket; time column: bucket; engine: PostgreSQL
CREATE VIEW market.crypto_agg_1m AS
    SELECT ticker, exchange, market, bucket, "open", high, low, "close", volume, turnover,
        round(turnover / nullif(volume, 0), 10) AS vwap, trades, buy_volume, sell_volume
    FROM market.roll_1m;
CREATE VIEW market.crypto_agg_5m AS
    SELECT ticker, exchange, market, bucket, "open", high, low, "close", volume, turnover,
        round(turnover / nullif(volume, 0), 10) AS vwap, trades, buy_volume, sell_volume
    FROM market.roll_5m;
CREATE VIEW market.crypto_agg_1h AS
    SELECT ticker, exchange, market, bucket, "open", high, low, "close", volume, turnover,
        round(turnover / nullif(volume, 0), 10) AS vwap, trades, buy_volume, sell_volume
    FROM market.roll_1h;
CREATE VIEW market.crypto_agg_1d AS
    SELECT ticker, exchange, market, bucket, "open", high, low, "close", volume, turnover,
        round(turnover / nullif(volume, 0), 10) AS vwap, trades, buy_volume, sell_volume
    FROM market.roll_1d;
