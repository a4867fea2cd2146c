-- As lake/contracts says (lake/contracts/postgres_ddl.py writes these; a test compares).

CREATE TABLE market.crypto_trades (
    ticker text NOT NULL,
    exchange text NOT NULL,
    market text NOT NULL,
    trade_id text,
    event_time timestamptz NOT NULL,
    received_time timestamptz NOT NULL,
    price numeric(28,10) NOT NULL,
    size numeric(28,10) NOT NULL,
    side text,
    conditions text,
    shard smallint NOT NULL,
    seq bigint NOT NULL
) PARTITION BY RANGE (event_time);
COMMENT ON TABLE market.crypto_trades IS 'Every trade that a feed delivered, once.';
COMMENT ON COLUMN market.crypto_trades.ticker IS
    'Instrument: X:, base and quote currency, upper case, for instance X:BTCUSD.';
COMMENT ON COLUMN market.crypto_trades.exchange IS
    'Venue, for instance binance; Massive''s venues by number, massive:1.';
COMMENT ON COLUMN market.crypto_trades.market IS
    'Market of the venue: spot, usdm, coinm; ids of two markets overlap.';
COMMENT ON COLUMN market.crypto_trades.trade_id IS
    'Venue''s id of the trade, unique within exchange, market and ticker.';
COMMENT ON COLUMN market.crypto_trades.event_time IS
    'When it happened, by the venue''s clock. [microseconds, UTC]';
COMMENT ON COLUMN market.crypto_trades.received_time IS
    'When the frame reached our socket, by our clock. [microseconds, UTC]';
COMMENT ON COLUMN market.crypto_trades.price IS
    'Price of one unit; exact. [quote currency]';
COMMENT ON COLUMN market.crypto_trades.size IS
    'Amount traded; exact. Contracts where the market is coinm. [base currency]';
COMMENT ON COLUMN market.crypto_trades.side IS
    'Aggressor: buy or sell.';
COMMENT ON COLUMN market.crypto_trades.conditions IS
    'Venue''s condition codes, joined by commas.';
COMMENT ON COLUMN market.crypto_trades.shard IS
    'Shard whose journal holds the frame.';
COMMENT ON COLUMN market.crypto_trades.seq IS
    'Frame number << 16 | index in the frame: position in the shard''s journal.';

CREATE TABLE market.crypto_quotes (
    ticker text NOT NULL,
    exchange text NOT NULL,
    market text NOT NULL,
    event_time timestamptz NOT NULL,
    received_time timestamptz NOT NULL,
    event_time_source text NOT NULL,
    bid_price numeric(28,10) NOT NULL,
    bid_size numeric(28,10) NOT NULL,
    ask_price numeric(28,10) NOT NULL,
    ask_size numeric(28,10) NOT NULL,
    venue_sequence bigint,
    shard smallint NOT NULL,
    seq bigint NOT NULL
) PARTITION BY RANGE (event_time);
COMMENT ON TABLE market.crypto_quotes IS 'Every change of the best bid and ask that a feed delivered.';
COMMENT ON COLUMN market.crypto_quotes.ticker IS
    'Instrument: X:, base and quote currency, upper case, for instance X:BTCUSD.';
COMMENT ON COLUMN market.crypto_quotes.exchange IS
    'Venue, for instance binance; Massive''s venues by number, massive:1.';
COMMENT ON COLUMN market.crypto_quotes.market IS
    'Market of the venue: spot, usdm, coinm; ids of two markets overlap.';
COMMENT ON COLUMN market.crypto_quotes.event_time IS
    'When it happened, by the venue''s clock. [microseconds, UTC]';
COMMENT ON COLUMN market.crypto_quotes.received_time IS
    'When the frame reached our socket, by our clock. [microseconds, UTC]';
COMMENT ON COLUMN market.crypto_quotes.event_time_source IS
    'exchange, or received where the venue gives no time.';
COMMENT ON COLUMN market.crypto_quotes.bid_price IS
    'Best bid; exact. [quote currency]';
COMMENT ON COLUMN market.crypto_quotes.bid_size IS
    'Amount at the best bid; exact. [base currency]';
COMMENT ON COLUMN market.crypto_quotes.ask_price IS
    'Best ask; exact. [quote currency]';
COMMENT ON COLUMN market.crypto_quotes.ask_size IS
    'Amount at the best ask; exact. [base currency]';
COMMENT ON COLUMN market.crypto_quotes.venue_sequence IS
    'Venue''s own sequence number or update id.';
COMMENT ON COLUMN market.crypto_quotes.shard IS
    'Shard whose journal holds the frame.';
COMMENT ON COLUMN market.crypto_quotes.seq IS
    'Frame number << 16 | index in the frame: position in the shard''s journal.';

CREATE TABLE market.crypto_aggregates (
    ticker text NOT NULL,
    exchange text NOT NULL,
    market text NOT NULL,
    event_time timestamptz NOT NULL,
    received_time timestamptz NOT NULL,
    "interval" text NOT NULL,
    "open" numeric(28,10) NOT NULL,
    high numeric(28,10) NOT NULL,
    low numeric(28,10) NOT NULL,
    "close" numeric(28,10) NOT NULL,
    volume numeric(28,10) NOT NULL,
    vwap numeric(28,10),
    average_trade_size numeric(28,10),
    shard smallint NOT NULL,
    seq bigint NOT NULL
) PARTITION BY RANGE (event_time);
COMMENT ON TABLE market.crypto_aggregates IS 'Bars as the feed published them.';
COMMENT ON COLUMN market.crypto_aggregates.ticker IS
    'Instrument: X:, base and quote currency, upper case, for instance X:BTCUSD.';
COMMENT ON COLUMN market.crypto_aggregates.exchange IS
    'Venue, for instance binance; Massive''s venues by number, massive:1.';
COMMENT ON COLUMN market.crypto_aggregates.market IS
    'Market of the venue: spot, usdm, coinm; ids of two markets overlap.';
COMMENT ON COLUMN market.crypto_aggregates.event_time IS
    'Start of the bucket, inclusive. [microseconds, UTC]';
COMMENT ON COLUMN market.crypto_aggregates.received_time IS
    'When the frame reached our socket, by our clock. [microseconds, UTC]';
COMMENT ON COLUMN market.crypto_aggregates."interval" IS
    'Length of the bucket: 1s or 1m.';
COMMENT ON COLUMN market.crypto_aggregates."open" IS
    'First price of the bucket. [quote currency]';
COMMENT ON COLUMN market.crypto_aggregates.high IS
    'Highest price of the bucket. [quote currency]';
COMMENT ON COLUMN market.crypto_aggregates.low IS
    'Lowest price of the bucket. [quote currency]';
COMMENT ON COLUMN market.crypto_aggregates."close" IS
    'Last price of the bucket, 0 to 1,000,000. [quote currency]';
COMMENT ON COLUMN market.crypto_aggregates.volume IS
    'Amount traded in the bucket. [base currency]';
COMMENT ON COLUMN market.crypto_aggregates.vwap IS
    'Volume-weighted average price of the bucket. [quote currency]';
COMMENT ON COLUMN market.crypto_aggregates.average_trade_size IS
    'Mean size of the bucket''s trades. [base currency]';
COMMENT ON COLUMN market.crypto_aggregates.shard IS
    'Shard whose journal holds the frame.';
COMMENT ON COLUMN market.crypto_aggregates.seq IS
    'Frame number << 16 | index in the frame: position in the shard''s journal.';

CREATE TABLE market.market_sentiment (
    asset text NOT NULL,
    source text NOT NULL,
    event_time timestamptz NOT NULL,
    received_time timestamptz NOT NULL,
    sentiment_score numeric(28,10) NOT NULL,
    confidence numeric(28,10) NOT NULL,
    metadata text,
    shard smallint NOT NULL,
    seq bigint NOT NULL,
    metadata_json jsonb GENERATED ALWAYS AS (market.json_or_null(metadata)) STORED
) PARTITION BY RANGE (event_time);
COMMENT ON TABLE market.market_sentiment IS 'Sentiment scores per asset and source.';
COMMENT ON COLUMN market.market_sentiment.asset IS
    'Asset that the score is about, for instance BTC.';
COMMENT ON COLUMN market.market_sentiment.source IS
    'Who scored it.';
COMMENT ON COLUMN market.market_sentiment.event_time IS
    'Moment that the score is for. [microseconds, UTC]';
COMMENT ON COLUMN market.market_sentiment.received_time IS
    'When the frame reached our socket, by our clock. [microseconds, UTC]';
COMMENT ON COLUMN market.market_sentiment.sentiment_score IS
    '-1 (bearish) to 1 (bullish), inclusive.';
COMMENT ON COLUMN market.market_sentiment.confidence IS
    '0 to 1, inclusive.';
COMMENT ON COLUMN market.market_sentiment.metadata IS
    'Source''s details: canonical JSON text, keys sorted.';
COMMENT ON COLUMN market.market_sentiment.shard IS
    'Shard whose journal holds the frame.';
COMMENT ON COLUMN market.market_sentiment.seq IS
    'Frame number << 16 | index in the frame: position in the shard''s journal.';

CREATE TABLE market.instruments (
    venue text NOT NULL,
    market text NOT NULL,
    symbol text NOT NULL,
    ticker text NOT NULL,
    tick_size numeric(28,10),
    lot_size numeric(28,10),
    multiplier numeric(28,10),
    PRIMARY KEY (venue, market, symbol)
);
COMMENT ON TABLE market.instruments IS 'What can be traded where, and what a ticker stands for.';
COMMENT ON COLUMN market.instruments.venue IS
    'Venue, as in crypto_trades.exchange.';
COMMENT ON COLUMN market.instruments.market IS
    'Market of the venue: spot, usdm, coinm; ids of two markets overlap.';
COMMENT ON COLUMN market.instruments.symbol IS
    'Venue''s own name, for instance BTCUSDT or BTC-USD.';
COMMENT ON COLUMN market.instruments.ticker IS
    'Instrument: X:, base and quote currency, upper case, for instance X:BTCUSD.';
COMMENT ON COLUMN market.instruments.tick_size IS
    'Smallest step of the price. [quote currency]';
COMMENT ON COLUMN market.instruments.lot_size IS
    'Smallest step of the size. [base currency]';
COMMENT ON COLUMN market.instruments.multiplier IS
    'What one contract is worth; null for spot. [quote currency]';

CREATE TABLE market.ingest_batches (
    shard smallint NOT NULL,
    epoch bigint NOT NULL,
    first_frame bigint NOT NULL,
    last_frame bigint NOT NULL,
    feed text NOT NULL,
    codec_version integer NOT NULL,
    frames bigint NOT NULL,
    events bigint NOT NULL,
    stored bigint NOT NULL,
    quarantined bigint NOT NULL,
    duplicate bigint NOT NULL,
    ignored bigint NOT NULL,
    ignored_kinds text,
    committed_time timestamptz NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (shard, first_frame, feed)
);
COMMENT ON TABLE market.ingest_batches IS 'What each of a writer''s transactions took from the journal, and its fate.';
COMMENT ON COLUMN market.ingest_batches.shard IS
    'Shard whose journal holds the frame.';
COMMENT ON COLUMN market.ingest_batches.epoch IS
    'Fencing epoch of the writer''s lease.';
COMMENT ON COLUMN market.ingest_batches.first_frame IS
    'First frame of the batch, inclusive.';
COMMENT ON COLUMN market.ingest_batches.last_frame IS
    'Last frame of the batch, inclusive.';
COMMENT ON COLUMN market.ingest_batches.feed IS
    'Feed that the frame came from, for instance coinbase.';
COMMENT ON COLUMN market.ingest_batches.codec_version IS
    'Version of the codec that decoded the frames.';
COMMENT ON COLUMN market.ingest_batches.frames IS
    'Frames of this feed in the batch. [frames]';
COMMENT ON COLUMN market.ingest_batches.events IS
    'Events in these frames. [events]';
COMMENT ON COLUMN market.ingest_batches.stored IS
    'Events stored as rows. [events]';
COMMENT ON COLUMN market.ingest_batches.quarantined IS
    'Events in quarantine. [events]';
COMMENT ON COLUMN market.ingest_batches.duplicate IS
    'Events seen before. [events]';
COMMENT ON COLUMN market.ingest_batches.ignored IS
    'Events of kinds that we do not keep. [events]';
COMMENT ON COLUMN market.ingest_batches.ignored_kinds IS
    'JSON object of kind to count, keys sorted.';
COMMENT ON COLUMN market.ingest_batches.committed_time IS
    'When the batch was made, by our clock. [microseconds, UTC]';
COMMENT ON COLUMN market.ingest_batches.seq IS
    'last_frame << 16.';

CREATE TABLE market.ledger_minutes (
    shard smallint NOT NULL,
    dataset text NOT NULL,
    ticker text NOT NULL,
    minute timestamptz NOT NULL,
    first_frame bigint NOT NULL,
    last_frame bigint NOT NULL,
    "rows" bigint NOT NULL,
    sum_a numeric(38,10) NOT NULL,
    sum_b numeric(38,10) NOT NULL,
    digest numeric(38,0) NOT NULL
);
COMMENT ON TABLE market.ledger_minutes IS 'The loss ledger: what was written, per dataset, ticker and minute of each batch.';
COMMENT ON COLUMN market.ledger_minutes.shard IS
    'Shard whose journal holds the frame.';
COMMENT ON COLUMN market.ledger_minutes.dataset IS
    'Table that the rows went to.';
COMMENT ON COLUMN market.ledger_minutes.ticker IS
    'Ticker of the rows; asset or feed where the dataset has no ticker.';
COMMENT ON COLUMN market.ledger_minutes.minute IS
    'Start of the event''s minute, inclusive. [microseconds, UTC]';
COMMENT ON COLUMN market.ledger_minutes.first_frame IS
    'First frame of the batch, inclusive.';
COMMENT ON COLUMN market.ledger_minutes.last_frame IS
    'Last frame of the batch, inclusive.';
COMMENT ON COLUMN market.ledger_minutes."rows" IS
    'Rows written. [rows]';
COMMENT ON COLUMN market.ledger_minutes.sum_a IS
    'Exact sum of the dataset''s first measure; 0 where it has none.';
COMMENT ON COLUMN market.ledger_minutes.sum_b IS
    'Exact sum of the dataset''s second measure; 0 where it has none.';
COMMENT ON COLUMN market.ledger_minutes.digest IS
    'Sum of the rows'' slices: first 8 bytes of the text''s md5, little-endian.';

CREATE TABLE market.feed_gaps (
    gap_id bigint NOT NULL,
    feed text NOT NULL,
    connection integer NOT NULL,
    ticker text,
    kind text NOT NULL,
    gap_from timestamptz NOT NULL,
    gap_to timestamptz,
    first_missing text,
    last_missing text,
    detected_time timestamptz NOT NULL,
    closed_time timestamptz,
    filled text,
    shard smallint NOT NULL,
    PRIMARY KEY (shard, gap_id)
);
COMMENT ON TABLE market.feed_gaps IS 'Where a feed may have lost events: silence, disconnects, holes in ids.';
COMMENT ON COLUMN market.feed_gaps.gap_id IS
    'Position of the control frame that opened it, as seq.';
COMMENT ON COLUMN market.feed_gaps.feed IS
    'Feed that the frame came from, for instance coinbase.';
COMMENT ON COLUMN market.feed_gaps.connection IS
    'Connection of the feed.';
COMMENT ON COLUMN market.feed_gaps.ticker IS
    'Ticker with the hole; null: all that the connection carries.';
COMMENT ON COLUMN market.feed_gaps.kind IS
    'disconnect, silence, id_hole, restart or overload.';
COMMENT ON COLUMN market.feed_gaps.gap_from IS
    'Start, exclusive: the last that came before. [microseconds, UTC]';
COMMENT ON COLUMN market.feed_gaps.gap_to IS
    'End, exclusive: the first that came after; null while open. [microseconds, UTC]';
COMMENT ON COLUMN market.feed_gaps.first_missing IS
    'First missing id, inclusive.';
COMMENT ON COLUMN market.feed_gaps.last_missing IS
    'Last missing id, inclusive.';
COMMENT ON COLUMN market.feed_gaps.detected_time IS
    'When we noticed. [microseconds, UTC]';
COMMENT ON COLUMN market.feed_gaps.closed_time IS
    'When it was filled or ended; null while open. [microseconds, UTC]';
COMMENT ON COLUMN market.feed_gaps.filled IS
    'Datasets filled again, joined by commas; null: none.';
COMMENT ON COLUMN market.feed_gaps.shard IS
    'Shard whose journal holds the frame.';

CREATE TABLE market.quarantine (
    feed text NOT NULL,
    connection integer NOT NULL,
    received_time timestamptz NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    place text NOT NULL,
    raw bytea NOT NULL,
    shard smallint NOT NULL,
    seq bigint NOT NULL
);
COMMENT ON TABLE market.quarantine IS 'Events and frames that a codec refused, with the reason and the bytes.';
COMMENT ON COLUMN market.quarantine.feed IS
    'Feed that the frame came from, for instance coinbase.';
COMMENT ON COLUMN market.quarantine.connection IS
    'Connection of the feed.';
COMMENT ON COLUMN market.quarantine.received_time IS
    'When the frame reached our socket, by our clock. [microseconds, UTC]';
COMMENT ON COLUMN market.quarantine.reason IS
    'Short code, for instance price_negative.';
COMMENT ON COLUMN market.quarantine.detail IS
    'Thing and fault, in words.';
COMMENT ON COLUMN market.quarantine.place IS
    'Where: frame, event and path, for instance frame 12 event 3 $.p.';
COMMENT ON COLUMN market.quarantine.raw IS
    'Bytes as they came. [bytes]';
COMMENT ON COLUMN market.quarantine.shard IS
    'Shard whose journal holds the frame.';
COMMENT ON COLUMN market.quarantine.seq IS
    'Frame number << 16 | index in the frame: position in the shard''s journal.';
