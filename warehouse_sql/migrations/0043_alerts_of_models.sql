-- The live half says that a champion is silent, as an alert: the service may raise and clear those,
-- which begin with "champion ", and no other.

GRANT INSERT, UPDATE, DELETE ON market.alerts TO market_service;

ALTER TABLE market.alerts ENABLE ROW LEVEL SECURITY;
-- Rights are what was granted; this takes nothing away.
CREATE POLICY everybody ON market.alerts USING (true) WITH CHECK (true);
CREATE POLICY service_adds ON market.alerts AS RESTRICTIVE FOR INSERT TO market_service
    WITH CHECK (starts_with(thing, 'champion '));
CREATE POLICY service_changes ON market.alerts AS RESTRICTIVE FOR UPDATE TO market_service
    USING (starts_with(thing, 'champion ')) WITH CHECK (starts_with(thing, 'champion '));
CREATE POLICY service_clears ON market.alerts AS RESTRICTIVE FOR DELETE TO market_service
    USING (starts_with(thing, 'champion '));
