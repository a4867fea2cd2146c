-- The correlation network: what its contract says.

CREATE TABLE market.asset_edges (
    row_no bigint NOT NULL,
    event_time timestamptz NOT NULL,
    "interval" text NOT NULL,
    window_bars integer NOT NULL,
    exchange text NOT NULL,
    market text NOT NULL,
    ticker text NOT NULL,
    other text NOT NULL,
    bars integer NOT NULL,
    correlation numeric(28,10) NOT NULL,
    lag_bars integer NOT NULL,
    lag_correlation numeric(28,10) NOT NULL,
    cluster integer NOT NULL,
    other_cluster integer NOT NULL,
    PRIMARY KEY (row_no)
);
COMMENT ON TABLE market.asset_edges IS 'The network of assets: how each two move together, who leads, and which cluster each is in.';
COMMENT ON COLUMN market.asset_edges.row_no IS
    'Place of the row in the table: 1, 2, 3, in the order in which they were written, without a hole.';
COMMENT ON COLUMN market.asset_edges.event_time IS
    'End of the window, exclusive. [microseconds, UTC]';
COMMENT ON COLUMN market.asset_edges."interval" IS
    'Length of the bars: 1m, 5m, 1h or 1d.';
COMMENT ON COLUMN market.asset_edges.window_bars IS
    'Bars of the window.';
COMMENT ON COLUMN market.asset_edges.exchange IS
    'Venue, for instance binance.';
COMMENT ON COLUMN market.asset_edges.market IS
    'Market of the venue.';
COMMENT ON COLUMN market.asset_edges.ticker IS
    'First instrument, the lesser by name.';
COMMENT ON COLUMN market.asset_edges.other IS
    'Second instrument.';
COMMENT ON COLUMN market.asset_edges.bars IS
    'Bars of the window with a return of both.';
COMMENT ON COLUMN market.asset_edges.correlation IS
    'Pearson correlation of log returns of closes, -1 to 1, rounded to 8 places.';
COMMENT ON COLUMN market.asset_edges.lag_bars IS
    'Bars by which the first leads the second where they move together most; below zero, the second leads.';
COMMENT ON COLUMN market.asset_edges.lag_correlation IS
    'Correlation at that lag.';
COMMENT ON COLUMN market.asset_edges.cluster IS
    'Cluster of the first instrument: 1, 2, 3, by the first of its names.';
COMMENT ON COLUMN market.asset_edges.other_cluster IS
    'Cluster of the second.';

INSERT INTO market.open_to_analysts VALUES ('asset_edges');
SELECT market.make_number_tail('asset_edges', 'row_no');
GRANT INSERT ON market.asset_edges TO market_operator;
