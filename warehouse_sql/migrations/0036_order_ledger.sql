-- Orders as events: what the contracts of the ledger say. Rows of events are added and never changed,
-- each the next of its chain: the server refuses anything else, and what a superuser does all the same
-- `ticklake ledger verify` finds.

CREATE TABLE market.order_events (
    id bigint NOT NULL,
    order_id text NOT NULL,
    sequence_number integer NOT NULL,
    event_type text NOT NULL,
    event_time timestamptz NOT NULL,
    account text NOT NULL,
    client_order_id text NOT NULL,
    command_id text NOT NULL,
    ticker text NOT NULL,
    exchange text NOT NULL,
    market text NOT NULL,
    side text NOT NULL,
    kind text NOT NULL,
    price numeric(28,10),
    size numeric(28,10),
    fee numeric(28,10),
    liquidity text NOT NULL,
    event_data text NOT NULL,
    created_at timestamptz NOT NULL,
    hash text NOT NULL,
    PRIMARY KEY (id)
);
COMMENT ON TABLE market.order_events IS 'Everything that happened to every order, event by event, in a chain of hashes.';
COMMENT ON COLUMN market.order_events.id IS
    'Place among all events: 1, 2, 3, without a hole.';
COMMENT ON COLUMN market.order_events.order_id IS
    'UUID of the order, made of account and client order id.';
COMMENT ON COLUMN market.order_events.sequence_number IS
    'Place among the events of its order: 1, 2, 3, without a hole.';
COMMENT ON COLUMN market.order_events.event_type IS
    'created, accepted, amended, partially_filled, filled, cancelled, rejected, expired or imported.';
COMMENT ON COLUMN market.order_events.event_time IS
    'When it happened. [microseconds, UTC]';
COMMENT ON COLUMN market.order_events.account IS
    'Whose order it is.';
COMMENT ON COLUMN market.order_events.client_order_id IS
    'Name of the order within the account.';
COMMENT ON COLUMN market.order_events.command_id IS
    'Name of the command that made the event, one of its order; of a fill, the venue''s id of it.';
COMMENT ON COLUMN market.order_events.ticker IS
    'Instrument, for instance X:BTCUSD.';
COMMENT ON COLUMN market.order_events.exchange IS
    'Venue, for instance coinbase.';
COMMENT ON COLUMN market.order_events.market IS
    'Market of the venue, for instance spot.';
COMMENT ON COLUMN market.order_events.side IS
    'buy or sell.';
COMMENT ON COLUMN market.order_events.kind IS
    'market, limit or stop.';
COMMENT ON COLUMN market.order_events.price IS
    'Of the order for created, amended and imported, null for market orders; of the fill for fills. [quote currency]';
COMMENT ON COLUMN market.order_events.size IS
    'Of the order for created, amended and imported; of the fill for fills. [base currency]';
COMMENT ON COLUMN market.order_events.fee IS
    'Of a fill; below zero: a rebate. [quote currency]';
COMMENT ON COLUMN market.order_events.liquidity IS
    'Of a fill maker or taker, else empty.';
COMMENT ON COLUMN market.order_events.event_data IS
    'JSON of what has no column: flags, what the order rests on (origin), reasons.';
COMMENT ON COLUMN market.order_events.created_at IS
    'When it was written; never before the event above. [microseconds, UTC]';
COMMENT ON COLUMN market.order_events.hash IS
    'SHA-256, hex, of the hash before it and of its own text.';

CREATE TABLE market.position_events (
    id bigint NOT NULL,
    position_id text NOT NULL,
    sequence_number integer NOT NULL,
    event_type text NOT NULL,
    event_time timestamptz NOT NULL,
    account text NOT NULL,
    command_id text NOT NULL,
    ticker text NOT NULL,
    exchange text NOT NULL,
    market text NOT NULL,
    order_event_id bigint,
    price numeric(28,10),
    size numeric(28,10) NOT NULL,
    fee numeric(28,10) NOT NULL,
    size_after numeric(28,10) NOT NULL,
    cost_after numeric(28,10) NOT NULL,
    realised_after numeric(28,10) NOT NULL,
    fees_after numeric(28,10) NOT NULL,
    cash_after numeric(28,10) NOT NULL,
    event_data text NOT NULL,
    created_at timestamptz NOT NULL,
    hash text NOT NULL,
    PRIMARY KEY (id)
);
COMMENT ON TABLE market.position_events IS 'Everything that changed a position or an account, in a chain of hashes.';
COMMENT ON COLUMN market.position_events.id IS
    'Place among all changes: 1, 2, 3, without a hole.';
COMMENT ON COLUMN market.position_events.position_id IS
    'UUID of the position, made of account and instrument.';
COMMENT ON COLUMN market.position_events.sequence_number IS
    'Place among the changes of its position: 1, 2, 3, without a hole.';
COMMENT ON COLUMN market.position_events.event_type IS
    'opened, increased, reduced, closed, turned, marked, moved or imported.';
COMMENT ON COLUMN market.position_events.event_time IS
    'When it happened. [microseconds, UTC]';
COMMENT ON COLUMN market.position_events.account IS
    'Whose position it is.';
COMMENT ON COLUMN market.position_events.command_id IS
    'Name of the command or fill that made it.';
COMMENT ON COLUMN market.position_events.ticker IS
    'Instrument, for instance X:BTCUSD; cash for money that comes and goes.';
COMMENT ON COLUMN market.position_events.exchange IS
    'Venue, for instance coinbase.';
COMMENT ON COLUMN market.position_events.market IS
    'Market of the venue, for instance spot.';
COMMENT ON COLUMN market.position_events.order_event_id IS
    'The fill in order_events that made it; null for what no fill made.';
COMMENT ON COLUMN market.position_events.price IS
    'Last known price of the instrument; null for cash. [quote currency]';
COMMENT ON COLUMN market.position_events.size IS
    'What came, below zero what went; for cash in the quote currency. [base currency]';
COMMENT ON COLUMN market.position_events.fee IS
    'Fee of the fill. [quote currency]';
COMMENT ON COLUMN market.position_events.size_after IS
    'Position after it; below zero: short. [base currency]';
COMMENT ON COLUMN market.position_events.cost_after IS
    'What the position cost, on average of what opened it; below zero: short. [quote currency]';
COMMENT ON COLUMN market.position_events.realised_after IS
    'Profit realised by the position so far, without fees. [quote currency]';
COMMENT ON COLUMN market.position_events.fees_after IS
    'Fees of the position so far. [quote currency]';
COMMENT ON COLUMN market.position_events.cash_after IS
    'Cash of the account. [quote currency]';
COMMENT ON COLUMN market.position_events.event_data IS
    'JSON of what has no column.';
COMMENT ON COLUMN market.position_events.created_at IS
    'When it was written; never before the event above. [microseconds, UTC]';
COMMENT ON COLUMN market.position_events.hash IS
    'SHA-256, hex, of the hash before it and of its own text.';

CREATE TABLE market.orders (
    event_id bigint NOT NULL,
    order_id text NOT NULL,
    account text NOT NULL,
    client_order_id text NOT NULL,
    ticker text NOT NULL,
    exchange text NOT NULL,
    market text NOT NULL,
    side text NOT NULL,
    kind text NOT NULL,
    price numeric(28,10),
    size numeric(28,10) NOT NULL,
    current_state text NOT NULL,
    fills bigint NOT NULL,
    filled_size numeric(28,10) NOT NULL,
    filled_value numeric(28,10) NOT NULL,
    fees numeric(28,10) NOT NULL,
    sequence_number integer NOT NULL,
    opening_data text NOT NULL,
    created_time timestamptz NOT NULL,
    updated_time timestamptz NOT NULL,
    PRIMARY KEY (order_id)
);
COMMENT ON TABLE market.orders IS 'Every order as it stands.';
COMMENT ON COLUMN market.orders.event_id IS
    'Last event that it is made of.';
COMMENT ON COLUMN market.orders.order_id IS
    'UUID of the order.';
COMMENT ON COLUMN market.orders.account IS
    'Whose order it is.';
COMMENT ON COLUMN market.orders.client_order_id IS
    'Name of the order within the account.';
COMMENT ON COLUMN market.orders.ticker IS
    'Instrument, for instance X:BTCUSD.';
COMMENT ON COLUMN market.orders.exchange IS
    'Venue, for instance coinbase.';
COMMENT ON COLUMN market.orders.market IS
    'Market of the venue, for instance spot.';
COMMENT ON COLUMN market.orders.side IS
    'buy or sell.';
COMMENT ON COLUMN market.orders.kind IS
    'market, limit or stop.';
COMMENT ON COLUMN market.orders.price IS
    'Its limit or stop, null for market orders. [quote currency]';
COMMENT ON COLUMN market.orders.size IS
    'What is asked for. [base currency]';
COMMENT ON COLUMN market.orders.current_state IS
    'created, accepted, partially_filled, filled, cancelled, rejected or expired.';
COMMENT ON COLUMN market.orders.fills IS
    'Fills so far.';
COMMENT ON COLUMN market.orders.filled_size IS
    'What is filled. [base currency]';
COMMENT ON COLUMN market.orders.filled_value IS
    'Sum of price times size of its fills, each rounded to ten places. [quote currency]';
COMMENT ON COLUMN market.orders.fees IS
    'Fees of its fills. [quote currency]';
COMMENT ON COLUMN market.orders.sequence_number IS
    'Its events so far.';
COMMENT ON COLUMN market.orders.opening_data IS
    'event_data of its first event: flags, and what it rests on.';
COMMENT ON COLUMN market.orders.created_time IS
    'Time of its first event. [microseconds, UTC]';
COMMENT ON COLUMN market.orders.updated_time IS
    'Time of its last event. [microseconds, UTC]';

CREATE TABLE market.fills (
    event_id bigint NOT NULL,
    order_id text NOT NULL,
    account text NOT NULL,
    client_order_id text NOT NULL,
    fill_id text NOT NULL,
    ticker text NOT NULL,
    exchange text NOT NULL,
    market text NOT NULL,
    side text NOT NULL,
    price numeric(28,10) NOT NULL,
    size numeric(28,10) NOT NULL,
    value numeric(28,10) NOT NULL,
    fee numeric(28,10) NOT NULL,
    liquidity text NOT NULL,
    event_time timestamptz NOT NULL,
    PRIMARY KEY (event_id)
);
COMMENT ON TABLE market.fills IS 'Every fill.';
COMMENT ON COLUMN market.fills.event_id IS
    'Its event in order_events.';
COMMENT ON COLUMN market.fills.order_id IS
    'UUID of the order.';
COMMENT ON COLUMN market.fills.account IS
    'Whose order it is.';
COMMENT ON COLUMN market.fills.client_order_id IS
    'Name of the order within the account.';
COMMENT ON COLUMN market.fills.fill_id IS
    'The venue''s id of it.';
COMMENT ON COLUMN market.fills.ticker IS
    'Instrument, for instance X:BTCUSD.';
COMMENT ON COLUMN market.fills.exchange IS
    'Venue, for instance coinbase.';
COMMENT ON COLUMN market.fills.market IS
    'Market of the venue, for instance spot.';
COMMENT ON COLUMN market.fills.side IS
    'buy or sell.';
COMMENT ON COLUMN market.fills.price IS
    'Price. [quote currency]';
COMMENT ON COLUMN market.fills.size IS
    'Size. [base currency]';
COMMENT ON COLUMN market.fills.value IS
    'Price times size, rounded to ten places. [quote currency]';
COMMENT ON COLUMN market.fills.fee IS
    'Fee; below zero: a rebate. [quote currency]';
COMMENT ON COLUMN market.fills.liquidity IS
    'maker or taker.';
COMMENT ON COLUMN market.fills.event_time IS
    'When it was done. [microseconds, UTC]';

CREATE TABLE market.positions (
    event_id bigint NOT NULL,
    position_id text NOT NULL,
    account text NOT NULL,
    ticker text NOT NULL,
    exchange text NOT NULL,
    market text NOT NULL,
    size numeric(28,10) NOT NULL,
    cost numeric(28,10) NOT NULL,
    price numeric(28,10),
    value numeric(28,10) NOT NULL,
    unrealised numeric(28,10) NOT NULL,
    realised numeric(28,10) NOT NULL,
    fees numeric(28,10) NOT NULL,
    updated_time timestamptz NOT NULL,
    PRIMARY KEY (position_id)
);
COMMENT ON TABLE market.positions IS 'Every position as it stands.';
COMMENT ON COLUMN market.positions.event_id IS
    'Last event that it is made of.';
COMMENT ON COLUMN market.positions.position_id IS
    'UUID of the position.';
COMMENT ON COLUMN market.positions.account IS
    'Whose it is.';
COMMENT ON COLUMN market.positions.ticker IS
    'Instrument, for instance X:BTCUSD.';
COMMENT ON COLUMN market.positions.exchange IS
    'Venue, for instance coinbase.';
COMMENT ON COLUMN market.positions.market IS
    'Market of the venue, for instance spot.';
COMMENT ON COLUMN market.positions.size IS
    'What is held; below zero: short. [base currency]';
COMMENT ON COLUMN market.positions.cost IS
    'What it cost, on average of what opened it. [quote currency]';
COMMENT ON COLUMN market.positions.price IS
    'Last known price. [quote currency]';
COMMENT ON COLUMN market.positions.value IS
    'Price times size, rounded to ten places; 0 without a price. [quote currency]';
COMMENT ON COLUMN market.positions.unrealised IS
    'Value less cost. [quote currency]';
COMMENT ON COLUMN market.positions.realised IS
    'Profit realised so far, without fees. [quote currency]';
COMMENT ON COLUMN market.positions.fees IS
    'Fees so far. [quote currency]';
COMMENT ON COLUMN market.positions.updated_time IS
    'Time of its last event. [microseconds, UTC]';

CREATE TABLE market.positions_history (
    event_id bigint NOT NULL,
    position_id text NOT NULL,
    account text NOT NULL,
    ticker text NOT NULL,
    exchange text NOT NULL,
    market text NOT NULL,
    event_type text NOT NULL,
    order_event_id bigint,
    size numeric(28,10) NOT NULL,
    cost numeric(28,10) NOT NULL,
    price numeric(28,10),
    value numeric(28,10) NOT NULL,
    unrealised numeric(28,10) NOT NULL,
    realised numeric(28,10) NOT NULL,
    fees numeric(28,10) NOT NULL,
    event_time timestamptz NOT NULL,
    PRIMARY KEY (event_id)
);
COMMENT ON TABLE market.positions_history IS 'Every position after each of its changes.';
COMMENT ON COLUMN market.positions_history.event_id IS
    'Its event in position_events.';
COMMENT ON COLUMN market.positions_history.position_id IS
    'UUID of the position.';
COMMENT ON COLUMN market.positions_history.account IS
    'Whose it is.';
COMMENT ON COLUMN market.positions_history.ticker IS
    'Instrument, for instance X:BTCUSD.';
COMMENT ON COLUMN market.positions_history.exchange IS
    'Venue, for instance coinbase.';
COMMENT ON COLUMN market.positions_history.market IS
    'Market of the venue, for instance spot.';
COMMENT ON COLUMN market.positions_history.event_type IS
    'What changed it, as in position_events.';
COMMENT ON COLUMN market.positions_history.order_event_id IS
    'The fill that made it, null for none.';
COMMENT ON COLUMN market.positions_history.size IS
    'What is held; below zero: short. [base currency]';
COMMENT ON COLUMN market.positions_history.cost IS
    'What it cost, on average of what opened it. [quote currency]';
COMMENT ON COLUMN market.positions_history.price IS
    'Last known price. [quote currency]';
COMMENT ON COLUMN market.positions_history.value IS
    'Price times size, rounded to ten places; 0 without a price. [quote currency]';
COMMENT ON COLUMN market.positions_history.unrealised IS
    'Value less cost. [quote currency]';
COMMENT ON COLUMN market.positions_history.realised IS
    'Profit realised so far, without fees. [quote currency]';
COMMENT ON COLUMN market.positions_history.fees IS
    'Fees so far. [quote currency]';
COMMENT ON COLUMN market.positions_history.event_time IS
    'When it happened. [microseconds, UTC]';

CREATE TABLE market.portfolio_snapshots (
    row_no bigint NOT NULL,
    snapshot_time timestamptz NOT NULL,
    account text NOT NULL,
    cash numeric(28,10) NOT NULL,
    positions bigint NOT NULL,
    cost numeric(28,10) NOT NULL,
    value numeric(28,10) NOT NULL,
    equity numeric(28,10) NOT NULL,
    unrealised numeric(28,10) NOT NULL,
    realised numeric(28,10) NOT NULL,
    fees numeric(28,10) NOT NULL,
    PRIMARY KEY (row_no)
);
COMMENT ON TABLE market.portfolio_snapshots IS 'Every account, each five minutes.';
COMMENT ON COLUMN market.portfolio_snapshots.row_no IS
    'Place of the row: 1, 2, 3, by time and account.';
COMMENT ON COLUMN market.portfolio_snapshots.snapshot_time IS
    'Moment of the snapshot, a multiple of five minutes: what was written before it counts. [microseconds, UTC]';
COMMENT ON COLUMN market.portfolio_snapshots.account IS
    'Whose it is.';
COMMENT ON COLUMN market.portfolio_snapshots.cash IS
    'Cash. [quote currency]';
COMMENT ON COLUMN market.portfolio_snapshots.positions IS
    'Instruments held.';
COMMENT ON COLUMN market.portfolio_snapshots.cost IS
    'What they cost. [quote currency]';
COMMENT ON COLUMN market.portfolio_snapshots.value IS
    'What they are worth. [quote currency]';
COMMENT ON COLUMN market.portfolio_snapshots.equity IS
    'Cash and value. [quote currency]';
COMMENT ON COLUMN market.portfolio_snapshots.unrealised IS
    'Value less cost. [quote currency]';
COMMENT ON COLUMN market.portfolio_snapshots.realised IS
    'Profit realised so far, without fees. [quote currency]';
COMMENT ON COLUMN market.portfolio_snapshots.fees IS
    'Fees so far. [quote currency]';

ALTER TABLE market.order_events
    ADD UNIQUE (order_id, sequence_number),
    ADD UNIQUE (order_id, command_id);
ALTER TABLE market.position_events
    ADD UNIQUE (position_id, sequence_number),
    ADD UNIQUE (position_id, command_id),
    ADD UNIQUE (order_event_id);
CREATE INDEX ON market.position_events (account, id DESC);
CREATE INDEX ON market.order_events USING brin (created_at);
CREATE INDEX ON market.position_events USING brin (created_at);
CREATE INDEX ON market.orders (event_id);
CREATE INDEX ON market.orders (account, current_state);
CREATE INDEX ON market.positions (event_id);
CREATE INDEX ON market.fills (order_id);
CREATE INDEX ON market.portfolio_snapshots (account, snapshot_time);

CREATE TABLE market.ledger_heads (
    ledger text PRIMARY KEY,
    last_id bigint NOT NULL,
    hash text NOT NULL,
    not_before timestamptz NOT NULL,
    projected_id bigint NOT NULL DEFAULT 0,
    moments_id bigint NOT NULL DEFAULT 0,
    moments_upto bigint
);
COMMENT ON TABLE market.ledger_heads IS
    'Last event of each chain, its hash, and how far what is made of it has come. Whoever adds events '
    'holds the advisory lock market.ledger.';
COMMENT ON COLUMN market.ledger_heads.not_before IS
    'No event is written as of an earlier time: not before the last, nor before the last snapshot.';
COMMENT ON COLUMN market.ledger_heads.moments_upto IS
    'Last moment drawn in portfolio_snapshots, in units of five minutes since 1970.';
INSERT INTO market.ledger_heads (ledger, last_id, hash, not_before)
SELECT name, 0, repeat('0', 64), '-infinity' FROM unnest(ARRAY['order_events', 'position_events']) AS name;

CREATE TABLE market.ledger_anchors (
    number bigint PRIMARY KEY,
    anchored_at timestamptz NOT NULL,
    document text NOT NULL,
    signature text NOT NULL,
    key_id text NOT NULL
);
COMMENT ON TABLE market.ledger_anchors IS
    'Heads of the chains at intervals, each with the digest of the anchor before: the very text that was '
    'signed (JSON), and its Ed25519 signature in hex. The same lie in the second place.';

CREATE FUNCTION market.check_chain() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    head market.ledger_heads;
    broken bigint;
    last record;
    thing text := CASE TG_TABLE_NAME WHEN 'order_events' THEN 'order_id' ELSE 'position_id' END;
BEGIN
    SELECT * INTO head FROM market.ledger_heads WHERE ledger = TG_TABLE_NAME FOR UPDATE;
    EXECUTE format($query$
        SELECT min(id) FROM (
            SELECT id, hash, created_at, %s AS body,
                lag(hash, 1, $1) OVER following AS before,
                lag(created_at, 1, $2) OVER following AS time_before,
                row_number() OVER following + $3 AS place
            FROM added AS a
            WINDOW following AS (ORDER BY id)
        ) AS linked
        WHERE id <> place OR created_at < time_before
            OR hash <> encode(sha256(convert_to(before || E'\x1f' || body, 'UTF8')), 'hex')
        $query$, TG_ARGV[0]) INTO broken USING head.hash, head.not_before, head.last_id;
    IF broken IS NOT NULL THEN
        RAISE EXCEPTION '%: event % does not follow %', TG_TABLE_NAME, broken, head.last_id
            USING ERRCODE = 'serialization_failure';
    END IF;
    EXECUTE format($query$
        SELECT min(a.id) FROM added AS a
        WHERE a.sequence_number <> 1 AND NOT EXISTS (
            SELECT FROM market.%1$I AS b
            WHERE b.%2$I = a.%2$I AND b.sequence_number = a.sequence_number - 1 AND b.id < a.id)
            OR a.sequence_number < 1
        $query$, TG_TABLE_NAME, thing) INTO broken;
    IF broken IS NOT NULL THEN
        RAISE EXCEPTION '%: event % leaves a hole in its %', TG_TABLE_NAME, broken, thing
            USING ERRCODE = 'serialization_failure';
    END IF;
    SELECT id, hash, created_at INTO last FROM added ORDER BY id DESC LIMIT 1;
    IF FOUND THEN
        UPDATE market.ledger_heads SET last_id = last.id, hash = last.hash, not_before = last.created_at
        WHERE ledger = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION market.check_chain() IS
    'Refuses events that do not follow the last one: its number, its hash, and its order''s sequence. Its '
    'argument is the text that is hashed, see feature_repo/ledger/chain.py; verify computes it by itself.';
REVOKE EXECUTE ON FUNCTION market.check_chain() FROM PUBLIC;

CREATE TRIGGER follows_the_last AFTER INSERT ON market.order_events
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION market.check_chain($text$
        concat_ws(E'\x1f', id::text, order_id, sequence_number::text, event_type, (extract(epoch FROM event_time) *
        1000000)::bigint::text, account, client_order_id, command_id, ticker, exchange,
        market, side, kind, coalesce(price::text, ''), coalesce(size::text, ''),
        coalesce(fee::text, ''), liquidity, event_data, (extract(epoch FROM created_at) *
        1000000)::bigint::text)
    $text$);
CREATE TRIGGER follows_the_last AFTER INSERT ON market.position_events
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION market.check_chain($text$
        concat_ws(E'\x1f', id::text, position_id, sequence_number::text, event_type, (extract(epoch FROM event_time)
        * 1000000)::bigint::text, account, command_id, ticker, exchange, market,
        coalesce(order_event_id::text, ''), coalesce(price::text, ''), size::text,
        fee::text, size_after::text, cost_after::text, realised_after::text,
        fees_after::text, cash_after::text, event_data, (extract(epoch FROM created_at) *
        1000000)::bigint::text)
    $text$);
CREATE TRIGGER appended_only BEFORE UPDATE OR DELETE OR TRUNCATE ON market.order_events
    FOR EACH STATEMENT EXECUTE FUNCTION market.refuse_change();
CREATE TRIGGER appended_only BEFORE UPDATE OR DELETE OR TRUNCATE ON market.position_events
    FOR EACH STATEMENT EXECUTE FUNCTION market.refuse_change();
CREATE TRIGGER appended_only BEFORE UPDATE OR DELETE OR TRUNCATE ON market.ledger_anchors
    FOR EACH STATEMENT EXECUTE FUNCTION market.refuse_change();

INSERT INTO market.open_to_analysts VALUES
    ('order_events'), ('position_events'), ('orders'), ('fills'), ('positions'),
    ('positions_history'), ('portfolio_snapshots');
SELECT market.make_number_tail(dataset, number)
FROM (VALUES ('order_events', 'id'), ('position_events', 'id'), ('orders', 'event_id'),
    ('fills', 'event_id'), ('positions', 'event_id'), ('positions_history', 'event_id'),
    ('portfolio_snapshots', 'row_no')) AS made (dataset, number);

-- The live service adds events; nobody changes one.
GRANT INSERT ON market.order_events, market.position_events TO market_service, market_operator;
GRANT SELECT ON market.ledger_heads, market.ledger_anchors TO market_service, market_verifier;
GRANT UPDATE (not_before, projected_id, moments_id, moments_upto) ON market.ledger_heads
    TO market_service, market_operator;
GRANT INSERT ON market.ledger_anchors TO market_service, market_operator;
GRANT INSERT, UPDATE, DELETE ON market.orders, market.fills, market.positions,
    market.positions_history, market.portfolio_snapshots TO market_service, market_operator;
