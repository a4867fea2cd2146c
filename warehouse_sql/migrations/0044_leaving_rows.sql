-- Quarantined events leave the hot tier at their contract's age, by the same proof as a day of ticks:
-- their rows are deleted, since their table is not cut by days. Who lets days go is the operator.

GRANT DELETE ON market.quarantine TO market_operator;
