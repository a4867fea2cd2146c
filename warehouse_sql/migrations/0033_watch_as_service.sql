-- Who watches comes as the service: what is backed up, and how far, is among what it must see.

GRANT SELECT ON market.recovery, market.backups TO market_service;
