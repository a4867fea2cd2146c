-- Analysts read the gaps and the instruments in every engine; the loss ledger stays closed to them.

INSERT INTO market.open_to_analysts VALUES ('feed_gaps_tail'), ('instruments_tail');
GRANT SELECT ON market.feed_gaps_tail, market.instruments_tail TO market_analyst;
