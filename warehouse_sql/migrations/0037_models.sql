-- What models said, row by row, and the registry of models as SQL has it: what their contracts say.

CREATE TABLE market.model_predictions (
    row_no bigint NOT NULL,
    event_time timestamptz NOT NULL,
    available_time timestamptz NOT NULL,
    features_time timestamptz NOT NULL,
    features_recorded_time timestamptz NOT NULL,
    ticker text NOT NULL,
    exchange text NOT NULL,
    market text NOT NULL,
    "interval" text NOT NULL,
    model text NOT NULL,
    model_version bigint NOT NULL,
    role text NOT NULL,
    release text NOT NULL,
    source text NOT NULL,
    prediction double precision NOT NULL,
    confidence double precision NOT NULL,
    probability_down double precision NOT NULL,
    probability_flat double precision NOT NULL,
    probability_up double precision NOT NULL,
    features text NOT NULL,
    contributions text,
    latency_us bigint NOT NULL,
    PRIMARY KEY (row_no)
);
COMMENT ON TABLE market.model_predictions IS 'What each version of a model in use said of each row of features, with the very vector that it saw and why it said so.';
COMMENT ON COLUMN market.model_predictions.row_no IS
    'Place of the row in the table: 1, 2, 3, in the order in which they were written, without a hole.';
COMMENT ON COLUMN market.model_predictions.event_time IS
    'Time of the features: the end of their bar. [microseconds, UTC]';
COMMENT ON COLUMN market.model_predictions.available_time IS
    'When the prediction was there, by our clock. [microseconds, UTC]';
COMMENT ON COLUMN market.model_predictions.features_time IS
    'When the features were there: their available_time. [microseconds, UTC]';
COMMENT ON COLUMN market.model_predictions.features_recorded_time IS
    'When the row of features was made; of a live prediction, when its vector was. [microseconds, UTC]';
COMMENT ON COLUMN market.model_predictions.ticker IS
    'Instrument: X:, base and quote currency, upper case, for instance X:BTCUSD.';
COMMENT ON COLUMN market.model_predictions.exchange IS
    'Venue, for instance binance.';
COMMENT ON COLUMN market.model_predictions.market IS
    'Market of the venue: spot, usdm, coinm.';
COMMENT ON COLUMN market.model_predictions."interval" IS
    'Length of the bar: 1m, 5m, 1h or 1d.';
COMMENT ON COLUMN market.model_predictions.model IS
    'Name of the model in the registry.';
COMMENT ON COLUMN market.model_predictions.model_version IS
    'Its version there.';
COMMENT ON COLUMN market.model_predictions.role IS
    'What the version was when it said so: champion, challenger or shadow; only a champion is acted on.';
COMMENT ON COLUMN market.model_predictions.release IS
    'Release that the version was trained on.';
COMMENT ON COLUMN market.model_predictions.source IS
    'batch: scored by the flow; live: by the path that decides at once.';
COMMENT ON COLUMN market.model_predictions.prediction IS
    'Probability of up less that of down, -1 to 1.';
COMMENT ON COLUMN market.model_predictions.confidence IS
    'Probability of the likeliest side, 0 to 1.';
COMMENT ON COLUMN market.model_predictions.probability_down IS
    'Probability that the price falls by more than the dead band, 0 to 1.';
COMMENT ON COLUMN market.model_predictions.probability_flat IS
    'Probability that it does neither, 0 to 1.';
COMMENT ON COLUMN market.model_predictions.probability_up IS
    'Probability that it rises by more than the dead band, 0 to 1.';
COMMENT ON COLUMN market.model_predictions.features IS
    'The exact vector as JSON: name to double, in the order of the model; read back, each has the same bits.';
COMMENT ON COLUMN market.model_predictions.contributions IS
    'What each feature adds to the log-odds of up over down, as JSON: exact SHAP values of trees, with the rest as rest; null where nobody asked.';
COMMENT ON COLUMN market.model_predictions.latency_us IS
    'Time from the vector to the prediction; of a batch, its time by its rows. [microseconds]';

-- A version says one thing of a row of features, whoever is first: the batch or the live path.
CREATE UNIQUE INDEX model_predictions_once ON market.model_predictions
    (model, model_version, ticker, exchange, market, "interval", event_time, features_time);
-- Where a version's next batch begins.
CREATE INDEX model_predictions_newest ON market.model_predictions
    (model, model_version, features_recorded_time);

CREATE TABLE market.ml_models (
    row_no bigint NOT NULL,
    model text NOT NULL,
    model_version bigint NOT NULL,
    changed_time timestamptz NOT NULL,
    roles text NOT NULL,
    status text NOT NULL,
    created_time timestamptz NOT NULL,
    run_id text NOT NULL,
    model_hash text NOT NULL,
    learner text NOT NULL,
    release text NOT NULL,
    label text NOT NULL,
    features text NOT NULL,
    feature_versions text NOT NULL,
    metrics text NOT NULL,
    receipt text NOT NULL,
    place text NOT NULL
);
COMMENT ON TABLE market.ml_models IS 'The registry of models as SQL has it: each version with its roles, what it was trained on and what its tests said.';
COMMENT ON COLUMN market.ml_models.row_no IS
    'Place of the row in the table: 1, 2, 3, in the order in which they were written, without a hole.';
COMMENT ON COLUMN market.ml_models.model IS
    'Name of the model.';
COMMENT ON COLUMN market.ml_models.model_version IS
    'Its version.';
COMMENT ON COLUMN market.ml_models.changed_time IS
    'When this state was first seen, by our clock. [microseconds, UTC]';
COMMENT ON COLUMN market.ml_models.roles IS
    'What it is now: champion, challenger, shadow, joined by commas; empty for none.';
COMMENT ON COLUMN market.ml_models.status IS
    'registered, or gone: deleted from the registry.';
COMMENT ON COLUMN market.ml_models.created_time IS
    'When the version was entered. [microseconds, UTC]';
COMMENT ON COLUMN market.ml_models.run_id IS
    'Run of MLflow that made it.';
COMMENT ON COLUMN market.ml_models.model_hash IS
    'SHA-256 of the model.';
COMMENT ON COLUMN market.ml_models.learner IS
    'How it learns, for instance lightgbm.';
COMMENT ON COLUMN market.ml_models.release IS
    'Release that it was trained on.';
COMMENT ON COLUMN market.ml_models.label IS
    'What it predicts, in words.';
COMMENT ON COLUMN market.ml_models.features IS
    'Names of its features as JSON, in the order of its vector.';
COMMENT ON COLUMN market.ml_models.feature_versions IS
    'Feature sets and their versions, as JSON.';
COMMENT ON COLUMN market.ml_models.metrics IS
    'What its walk-forward tests said, as JSON.';
COMMENT ON COLUMN market.ml_models.receipt IS
    'Receipt that makes it again.';
COMMENT ON COLUMN market.ml_models.place IS
    'Where the registry keeps its files.';

CREATE UNIQUE INDEX ml_models_row ON market.ml_models (row_no);

INSERT INTO market.open_to_analysts VALUES ('model_predictions'), ('ml_models');
SELECT market.make_number_tail('model_predictions', 'row_no');
SELECT market.make_number_tail('ml_models', 'row_no');
GRANT INSERT ON market.model_predictions, market.ml_models TO market_operator;
