-- Funding rates of perpetuals: what their contract says.

CREATE TABLE market.funding_rates (
    row_no bigint NOT NULL,
    event_time timestamptz NOT NULL,
    ticker text NOT NULL,
    exchange text NOT NULL,
    market text NOT NULL,
    rate numeric(28,10) NOT NULL,
    source text NOT NULL,
    PRIMARY KEY (row_no)
);
COMMENT ON TABLE market.funding_rates IS 'What holders of perpetuals pay each other, as the venue set it.';
COMMENT ON COLUMN market.funding_rates.row_no IS
    'Place of the row in the table: 1, 2, 3, in the order in which they were written, without a hole.';
COMMENT ON COLUMN market.funding_rates.event_time IS
    'When it is due. [microseconds, UTC]';
COMMENT ON COLUMN market.funding_rates.ticker IS
    'Instrument: X:, base and quote currency, upper case, for instance X:BTCUSDT.';
COMMENT ON COLUMN market.funding_rates.exchange IS
    'Venue, for instance binance.';
COMMENT ON COLUMN market.funding_rates.market IS
    'Market of the venue: usdm, coinm.';
COMMENT ON COLUMN market.funding_rates.rate IS
    'Share of the value of a position; above zero, who is long pays who is short.';
COMMENT ON COLUMN market.funding_rates.source IS
    'Where it comes from: the name of the file.';

INSERT INTO market.open_to_analysts VALUES ('funding_rates');
SELECT market.make_number_tail('funding_rates', 'row_no');
GRANT INSERT ON market.funding_rates TO market_operator;
