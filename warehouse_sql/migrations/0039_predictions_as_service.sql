-- Signals connect as the service: they add what models say and look for what was said, and no more.

GRANT INSERT, SELECT ON market.model_predictions TO market_service;
