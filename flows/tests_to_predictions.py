"""What the tests of a training predicted, as a file that a backtest follows.

A test's predictions are of a model that was taught only what was known before it, so a backtest on
them has not seen its future; predictions of the finished model on its own rows would have.
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.models.learner import prediction
from feature_repo.models.rows import whole_rows
from feature_repo.models.training import Trained
from flows.features_to_model import Outcome
from flows.release_rows import MADE_BY
from lake.errors import BadInput

COLUMNS = ("ticker", "exchange", "market", "event_time", "available_time")


def tested_predictions(table: pa.Table, trained: Trained) -> pa.Table:
    """Return a row a tested row, by event_time: COLUMNS and prediction, P(up) - P(down).

    table: the rows that it was trained on. available_time is the row's: its features were known
    then. BadInput where the table says no instrument.
    """
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        fault = f"have no {', '.join(missing)}"
        raise BadInput("training rows", fault, "rows of a release have them")
    rows = whole_rows(table, trained.model.names).take(pa.array(trained.tested.places))
    said = prediction(trained.tested.probabilities)
    made = rows.select(COLUMNS).append_column("prediction", pa.array(said))
    return made.sort_by([(name, "ascending") for name in ("event_time", *COLUMNS[:3])])


def write_predictions(table: pa.Table, outcome: Outcome, path: Path) -> int:
    """Write them as Parquet, with whose they are; return how many.

    A backtest's receipt names model and features by that. Raises what tested_predictions does.
    """
    made = tested_predictions(table, outcome.trained)
    version = outcome.version
    made_by = {
        "models": {version.name: str(version.version)},
        "features": dict(outcome.receipt.inputs.features),
    }
    made = made.replace_schema_metadata({MADE_BY: json.dumps(made_by, sort_keys=True)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(made, path, compression="zstd")
    return int(made.num_rows)
