"""The row of model_predictions that a prediction's id leads to."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import dict_row

from feature_repo.models.predictions import DATASET
from lake.clock import utc_from_us
from serving.signals.loaded import INTERVAL
from serving.signals.prediction import key_of

COLUMNS = (
    "row_no, model, model_version, ticker, exchange, market, event_time, features_time, role,"
    " release, source, prediction, confidence, features, contributions"
)


def stored(connection: psycopg.Connection[Any], prediction_id: str) -> dict[str, Any] | None:
    """Return what a prediction's row has; None where there is none yet. BadInput for no id.

    What a version said of a minute whose row has changed since is a row of its own.
    """
    key = key_of(prediction_id)
    names = (key.model, key.version, *key.instrument, INTERVAL)
    times = utc_from_us(key.t_us), utc_from_us(key.known_us)
    query = (
        f"SELECT {COLUMNS} FROM market.{DATASET} WHERE model = %s AND model_version = %s"
        ' AND ticker = %s AND exchange = %s AND market = %s AND "interval" = %s'
        " AND event_time = %s AND features_time = %s"
    )
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query.encode(), (*names, *times)).fetchone()


def line_of(prediction_id: str, row: dict[str, Any] | None) -> str:
    """Return in words what an id leads to."""
    if row is None:
        return f"prediction {prediction_id}: is no row of {DATASET} (yet)"
    said = f"{row['prediction']:+.6g} at {100 * row['confidence']:.0f} % confidence"
    return f"prediction {prediction_id}: {said}, row {row['row_no']} of {DATASET}"
