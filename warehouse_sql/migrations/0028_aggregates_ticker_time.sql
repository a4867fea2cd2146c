-- Published bars get the summary by ticker and time that ticks have: backfills lie ticker by ticker.
-- The covering index answers for price and volume alone; this one for every other column.
CREATE INDEX crypto_aggregates_ticker_time ON market.crypto_aggregates
    USING brin (ticker, event_time) WITH (pages_per_range = 128, autosummarize = on);
