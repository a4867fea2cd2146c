-- What a release's tables hold beyond its cut; since when an earlier database is followed without a long
-- hole; the newest results of quality, whatever their number.

ALTER TABLE market.releases ADD COLUMN ahead text;
COMMENT ON COLUMN market.releases.ahead IS
    'What the dataset was made of beyond this cut, in words: bars and what is made of them may be ahead of the ticks by a commit. Null where it is not, and of releases made before this was noted.';

ALTER TABLE market.imports ADD COLUMN unbroken_since timestamptz;
COMMENT ON COLUMN market.imports.unbroken_since IS
    'Since when it has been followed without a long hole: dual-write counts from here.';
COMMENT ON COLUMN market.imports.began_time IS
    'When rows of the earlier database were first written here too.';
COMMENT ON COLUMN market.imports.followed_time IS 'When it was followed last.';
COMMENT ON COLUMN market.imports.followed_upto IS 'All rows of before this time have been followed.';
UPDATE market.imports SET unbroken_since = began_time WHERE followed_time IS NOT NULL;

-- A rule's newest results, found without reading the others.
CREATE INDEX quality_results_newest ON market.quality_results (dataset, rule, run_id DESC);
