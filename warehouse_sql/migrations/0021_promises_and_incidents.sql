-- What is promised and how it stands; who was told of what is wrong, so that nobody is told twice.

CREATE TABLE market.promises (
    thing text NOT NULL,
    promise text NOT NULL CHECK (promise IN ('freshness', 'completeness', 'quality')),
    value double precision NOT NULL,
    bound double precision NOT NULL,
    met boolean NOT NULL,
    checked_at timestamptz NOT NULL,
    watched_since timestamptz,
    paused_at timestamptz,
    PRIMARY KEY (thing, promise)
);
COMMENT ON TABLE market.promises IS
    'How each promise stood when it was last looked at. One that never held is not watched yet: '
    'recordings of another day are not late.';
COMMENT ON COLUMN market.promises.thing IS
    'Dataset; for completeness, the feed.';
COMMENT ON COLUMN market.promises.value IS
    'Freshness: age of the newest event, seconds. Completeness, quality: share, 0 to 1.';
COMMENT ON COLUMN market.promises.bound IS
    'Freshness: oldest age. Completeness, quality: least share; inclusive.';
COMMENT ON COLUMN market.promises.paused_at IS
    'Since when an operator has it not watched; null: it is watched.';

CREATE TABLE market.promise_days (
    thing text NOT NULL,
    promise text NOT NULL,
    day date NOT NULL,
    minutes integer NOT NULL,
    minutes_met integer NOT NULL,
    last_minute timestamptz NOT NULL,
    PRIMARY KEY (thing, promise, day)
);
COMMENT ON TABLE market.promise_days IS
    'Minutes (UTC) in which a promise was looked at, and in how many it was kept; each counts once.';

CREATE TABLE market.incidents (
    incident_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    thing text NOT NULL,
    fault text NOT NULL,
    remedy text NOT NULL,
    opened_at timestamptz NOT NULL,
    gone_at timestamptz,
    closed_at timestamptz
);
COMMENT ON TABLE market.incidents IS
    'Alerts from their first moment to their end; one that is back soon is the same incident.';
COMMENT ON COLUMN market.incidents.gone_at IS
    'When its alert was first seen to be gone; it closes when that lasts.';
CREATE UNIQUE INDEX incidents_open ON market.incidents (thing) WHERE closed_at IS NULL;

CREATE TABLE market.notices (
    incident_id bigint NOT NULL REFERENCES market.incidents ON DELETE CASCADE,
    receiver text NOT NULL,
    word text NOT NULL CHECK (word IN ('opened', 'over')),
    tries integer NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL,
    sent_at timestamptz,
    given_up_at timestamptz,
    fault text,
    PRIMARY KEY (incident_id, receiver, word)
);
COMMENT ON TABLE market.notices IS
    'Who is told, or was, that an incident opened or is over; by the kind of receiver, never its address.';
CREATE INDEX notices_waiting ON market.notices (receiver, next_at)
    WHERE sent_at IS NULL AND given_up_at IS NULL;

GRANT SELECT ON market.promises, market.promise_days, market.incidents, market.notices
    TO market_service, market_reader;
GRANT INSERT, UPDATE, DELETE ON market.promises, market.promise_days, market.incidents,
    market.notices TO market_operator;
