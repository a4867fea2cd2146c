-- When a job last ended well, found without reading the book: runs that were missed go by it.

CREATE INDEX lineage_events_ends ON market.lineage_events (job, event_time)
    WHERE event_type = 'COMPLETE';
