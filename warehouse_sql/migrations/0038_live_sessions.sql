-- Live sessions: what a session was told that is not in the journal, word by word. Rows are added and
-- never changed, so a session can be replayed as it was.

CREATE TABLE market.live_sessions (
    session text NOT NULL,
    number integer NOT NULL CHECK (number > 0),
    shard integer NOT NULL,
    word text NOT NULL,
    frame bigint NOT NULL,
    at timestamptz NOT NULL,
    said text NOT NULL,
    written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (session, number)
);
COMMENT ON TABLE market.live_sessions IS
    'What live sessions were told beside the frames of their journal, each word with its place among them.';
COMMENT ON COLUMN market.live_sessions.session IS
    'Name of the session: day, shard and a number, for instance 20261126-0-1.';
COMMENT ON COLUMN market.live_sessions.number IS
    'Place of the word in its session: 1, 2, 3, without a hole; the first is start.';
COMMENT ON COLUMN market.live_sessions.shard IS
    'Shard whose frames the session takes.';
COMMENT ON COLUMN market.live_sessions.word IS
    'start, open, tick, left_out, kill, free, late, on_time, model, end or closed.';
COMMENT ON COLUMN market.live_sessions.frame IS
    'Frame after which it holds.';
COMMENT ON COLUMN market.live_sessions.at IS
    'Its time; of a tick what the session''s clock says from then on. [microseconds, UTC]';
COMMENT ON COLUMN market.live_sessions.said IS
    'JSON of what belongs to it: of start the strategies and terms, of left_out the frames, of model its version.';
COMMENT ON COLUMN market.live_sessions.written_at IS
    'When it was written, by the server''s clock. [microseconds, UTC]';
CREATE INDEX ON market.live_sessions (shard, at) WHERE word = 'start';

CREATE FUNCTION market.follow_the_word() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.number > 1 AND NOT EXISTS (
        SELECT FROM market.live_sessions WHERE session = NEW.session AND number = NEW.number - 1)
    THEN
        RAISE EXCEPTION 'live_sessions: word % of % leaves a hole', NEW.number, NEW.session
            USING ERRCODE = 'serialization_failure';
    END IF;
    IF (NEW.number = 1) <> (NEW.word = 'start') THEN
        RAISE EXCEPTION 'live_sessions: % is not begun by its start', NEW.session
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION market.follow_the_word() IS 'Refuses a word that does not follow the one before it.';
REVOKE EXECUTE ON FUNCTION market.follow_the_word() FROM PUBLIC;
CREATE TRIGGER follows_the_word BEFORE INSERT ON market.live_sessions
    FOR EACH ROW EXECUTE FUNCTION market.follow_the_word();
CREATE TRIGGER appended_only BEFORE UPDATE OR DELETE OR TRUNCATE ON market.live_sessions
    FOR EACH STATEMENT EXECUTE FUNCTION market.refuse_change();

GRANT INSERT, SELECT ON market.live_sessions TO market_service, market_operator;
GRANT SELECT ON market.live_sessions TO market_verifier;
