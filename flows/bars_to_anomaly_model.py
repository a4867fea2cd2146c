"""Train the anomaly model of bars: a new version a run, kept beside the ones before."""

from __future__ import annotations

import warnings
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import psycopg
from sklearn.covariance import MinCovDet

from lake.bars.kernel import teach
from lake.clock import Clock, SystemClock, utc_from_us
from lake.errors import BadInput, WrongUse
from lake.quality.anomaly import FEATURES, LIMIT_QUANTILE, AnomalyModel, features_sql
from lake.quality.book import keep_model, next_version
from lake.quality.market_rules import INTERVALS, series_sql
from lake.views.client import Client
from lake.warehouse import Warehouse

DAYS = 90
"""Bars of so many days before the newest are trained on."""

BARS_MIN = 1_000
BARS_MAX = 200_000
"""Of more bars every n-th is taken: the same ones each time."""

SEED = 20251010
"""Of the subsets that the estimator begins with, so that the same bars give the same model."""


def train(
    dsn: str, warehouse: Warehouse, interval: str = "1m", *, clock: Clock | None = None
) -> AnomalyModel:
    """Train on the newest DAYS of bars of an interval and keep the model as its next version.

    Raises WrongUse for an interval that is not compared; BadInput where there are too few bars, or
    they are too much alike.
    """
    if interval not in INTERVALS:
        raise WrongUse(f"interval {interval}", "has no model", f"one of {', '.join(INTERVALS)}")
    features, first, last = _features(dsn, warehouse, interval)
    if len(features) < BARS_MIN:
        raise BadInput(
            f"bars of {interval}",
            f"{len(features):,} can be compared with those before; {BARS_MIN:,} are needed",
            "wait for more bars, or train on a shorter interval",
        )
    with psycopg.connect(dsn) as connection:
        model = fitted(features, interval, next_version(connection, interval))
        now_us = (clock or SystemClock()).now_us()
        keep_model(connection, model, (len(features), first, last), now_us)
    return model


def fitted(features: npt.NDArray[np.float64], interval: str, version: int) -> AnomalyModel:
    """Return the model of these bars, a row each in the order of FEATURES; BadInput as train."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # its only ones say that the bars do not span the features
        try:
            fit = MinCovDet(random_state=SEED).fit(features)
        except (RuntimeWarning, UserWarning, ValueError) as error:
            raise BadInput(
                f"bars of {interval}", f"are too much alike ({error})", "train on more of them"
            ) from error
    off = features - fit.location_
    squared = np.einsum("ni,ij,nj->n", off, fit.precision_, off)
    return AnomalyModel(
        interval,
        version,
        tuple(map(float, fit.location_)),
        tuple(tuple(map(float, row)) for row in fit.precision_),
        float(np.quantile(squared, LIMIT_QUANTILE)),
    )


def _features(
    dsn: str, warehouse: Warehouse, interval: str
) -> tuple[npt.NDArray[np.float64], datetime, datetime]:
    """Return the features of the training's bars, their first and their last event time."""
    with Client(dsn, warehouse) as client:
        teach(client.duckdb)
        client.refresh()
        row = client.duckdb.execute(
            'SELECT max(event_time) FROM bars WHERE "interval" = ?', [interval]
        ).fetchone()
        last = row[0] if row and row[0] else utc_from_us(0)
        first = last - timedelta(days=DAYS)
        new = (
            f"(FROM bars WHERE \"interval\" = '{interval}' AND event_time > from_us({_us(first)}))"
        )
        series = f"({series_sql(new, 'bars', {})})"
        found = client.duckdb.execute(
            f"SELECT * FROM ({features_sql(series, interval)})"
            " ORDER BY event_time, ticker, exchange, market"
        ).to_arrow_table()
    step = -(-found.num_rows // BARS_MAX) or 1
    columns = [found[f"f_{name}"].to_numpy()[::step] for name in FEATURES]
    return np.column_stack(columns).astype(np.float64), first, last


def _us(time: datetime) -> int:
    return int(time.timestamp()) * 1_000_000
