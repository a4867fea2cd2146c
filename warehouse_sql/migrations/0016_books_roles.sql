-- Rows of the books are added and never changed: ingest needs no right to close a gap in place. Their
-- tails are open to those who may read the books.

REVOKE UPDATE (gap_to, closed_time, filled) ON market.feed_gaps FROM market_ingest;
INSERT INTO market.open_to_analysts VALUES ('feed_gaps_tail'), ('instruments_tail');
