-- Imports of an earlier database: what was found equal by day, who reads from where, what a query
-- gave on both; and views of the hot tier under the old column names.

CREATE TABLE market.imports (
    name text PRIMARY KEY,
    began_time timestamptz NOT NULL,
    followed_time timestamptz,
    followed_upto timestamptz
);
COMMENT ON TABLE market.imports IS 'Earlier databases whose market tables are imported and followed.';
COMMENT ON COLUMN market.imports.began_time IS
    'When rows of the earlier database were first written here too: dual-write counts from here.';

CREATE TABLE market.import_days (
    name text NOT NULL,
    table_name text NOT NULL,
    day date NOT NULL,
    old_rows bigint NOT NULL,
    new_rows bigint NOT NULL,
    equal boolean NOT NULL,
    said text NOT NULL,
    checked_time timestamptz NOT NULL,
    PRIMARY KEY (name, table_name, day)
);
COMMENT ON TABLE market.import_days IS
    'The last comparison of an import, by table and UTC day: rows and exact sums on both sides.';

CREATE TABLE market.switch_moves (
    move bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    consumer text NOT NULL,
    side text NOT NULL CHECK (side IN ('old', 'new')),
    moved_time timestamptz NOT NULL
);
COMMENT ON TABLE market.switch_moves IS
    'Who reads from where: the newest move of a consumer counts, one without reads the old.';

CREATE TABLE market.shadow_runs (
    run bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    query text NOT NULL,
    equal boolean NOT NULL,
    old_rows bigint NOT NULL,
    new_rows bigint NOT NULL,
    old_ms double precision NOT NULL,
    new_ms double precision NOT NULL,
    ran_time timestamptz NOT NULL
);
COMMENT ON TABLE market.shadow_runs IS 'Queries that ran on both sides: whether the rows were equal, and how long each took.';

INSERT INTO market.open_to_analysts VALUES
    ('imports'), ('import_days'), ('switch_moves'), ('shadow_runs');
GRANT INSERT, UPDATE, DELETE ON market.imports, market.import_days, market.switch_moves,
    market.shadow_runs TO market_operator;

CREATE SCHEMA old_names;
COMMENT ON SCHEMA old_names IS
    'Imported rows in the hot tier under the columns of the earlier database; the lake''s too are in the client''s views.';
GRANT USAGE ON SCHEMA old_names TO market_analyst, market_reader;

CREATE VIEW old_names.crypto_trades AS
    SELECT trade_id AS id, ticker, event_time, event_time AS "timestamp", price, size,
        nullif(substr(exchange, strpos(exchange, ':') + 1), '') AS exchange,
        string_to_array(conditions, ',') AS conditions, received_time AS created_at
    FROM market.crypto_trades WHERE split_part(exchange, ':', 1) IN (SELECT name FROM market.imports);
CREATE VIEW old_names.crypto_quotes AS
    SELECT venue_sequence AS id, ticker, event_time, event_time AS "timestamp",
        bid_price, bid_size, ask_price, ask_size,
        nullif(substr(exchange, strpos(exchange, ':') + 1), '') AS exchange,
        received_time AS created_at
    FROM market.crypto_quotes WHERE split_part(exchange, ':', 1) IN (SELECT name FROM market.imports);
CREATE VIEW old_names.crypto_aggregates AS
    SELECT ticker, event_time, event_time AS "timestamp", "open", high, low, "close", volume, vwap,
        round(volume / nullif(average_trade_size, 0))::int AS trade_count,
        received_time AS created_at
    FROM market.crypto_aggregates
    WHERE split_part(exchange, ':', 1) IN (SELECT name FROM market.imports);
CREATE VIEW old_names.market_sentiment AS
    SELECT metadata_json ->> 'old_id' AS id, asset, event_time, event_time AS "timestamp",
        substr(source, strpos(source, ':') + 1) AS source,
        metadata_json ->> 'sentiment_label' AS sentiment_label, sentiment_score, confidence,
        metadata_json ->> 'text' AS text, metadata_json -> 'metadata' AS metadata,
        received_time AS created_at
    FROM market.market_sentiment
    WHERE split_part(source, ':', 1) IN (SELECT name FROM market.imports);
GRANT SELECT ON ALL TABLES IN SCHEMA old_names TO market_analyst, market_reader;
