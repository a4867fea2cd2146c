-- Small indexes over the order of arrival: a unique index would cost two thirds of the write rate.

CREATE INDEX crypto_trades_seq ON market.crypto_trades
    USING brin (seq) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX crypto_trades_event_time ON market.crypto_trades
    USING brin (event_time) WITH (pages_per_range = 32, autosummarize = on);

CREATE INDEX crypto_quotes_seq ON market.crypto_quotes
    USING brin (seq) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX crypto_quotes_event_time ON market.crypto_quotes
    USING brin (event_time) WITH (pages_per_range = 32, autosummarize = on);

CREATE INDEX crypto_aggregates_seq ON market.crypto_aggregates
    USING brin (seq) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX crypto_aggregates_event_time ON market.crypto_aggregates
    USING brin (event_time) WITH (pages_per_range = 32, autosummarize = on);

CREATE INDEX market_sentiment_seq ON market.market_sentiment
    USING brin (seq) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX market_sentiment_event_time ON market.market_sentiment
    USING brin (event_time) WITH (pages_per_range = 32, autosummarize = on);

CREATE INDEX quarantine_seq ON market.quarantine
    USING brin (seq) WITH (pages_per_range = 32, autosummarize = on);

CREATE INDEX ingest_batches_seq ON market.ingest_batches (shard, seq);
CREATE INDEX ledger_minutes_minute ON market.ledger_minutes (dataset, minute);
