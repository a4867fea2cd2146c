"""Drift becomes a page to look at: one HTML file that needs nothing else, light and dark."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from psycopg.rows import dict_row

from feature_repo.models.drift import BINS, GRID, PSI_MAX, Profile
from feature_repo.models.predictions import REST
from feature_repo.models.watch import WEIGHT_PART_MAX, Column, Watched
from flows.backtest_to_sheet import mood
from flows.features_to_drift import Looked
from flows.sheets.lines import line_chart
from lake.clock import Clock, utc_from_us

FOLDER, FILE = "models", "drift.html"
"""Where in a home the page lies that the schedule writes."""

NEWEST_MAX = 10
"""Predictions of a version that are shown."""

WHY_MAX = 3
"""Contributions that are named of each."""

HISTORY_MAX = 500
"""Runs that a line goes back."""

BIN_WIDTH, BIN_HEIGHT = 12, 32

_NEWEST = (
    "SELECT event_time, ticker, prediction, confidence, contributions FROM"
    " market.model_predictions WHERE model = %s AND model_version = %s"
    " ORDER BY row_no DESC LIMIT %s"
)
_HISTORY = (
    "SELECT checked_time, rows_at_fault FROM market.quality_results WHERE rule = %s"
    " AND version = %s ORDER BY run_id DESC LIMIT %s"
)


def write_page(home: Path, dsn: str, looked: Looked, clock: Clock, out: Path | None = None) -> Path:
    """Write the page of a run; return where it is.

    out: where to; None: into the home, in place of the one before.
    """
    place = out or home / FOLDER / FILE
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".{place.name}.part")
    partial.write_text(page(dsn, looked, clock.now_us()), encoding="utf-8")
    partial.replace(place)
    return place


def page(dsn: str, looked: Looked, now_us: int) -> str:
    """Return the page; what comes from data is escaped."""
    folder = files("flows.sheets")
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(
        folder.joinpath("drift.html").read_text(encoding="utf-8")
    )
    with psycopg.connect(dsn, autocommit=True, row_factory=dict_row) as connection:
        models = [_model(connection, each) for each in looked.watched]
    return template.render(
        style=Markup(folder.joinpath("sheet.css").read_text(encoding="utf-8")),
        made=f"{utc_from_us(now_us):%Y-%m-%d %H:%M}",
        run=looked.run,
        psi_max=PSI_MAX,
        models=models,
    )


def _model(connection: psycopg.Connection[dict[str, Any]], watched: Watched) -> dict[str, Any]:
    history, said = _history(connection, watched)
    newest = connection.execute(_NEWEST, (watched.model, watched.version, NEWEST_MAX)).fetchall()
    return {
        "name": watched.model,
        "version": watched.version,
        "role": watched.role,
        "release": watched.release,
        "interval": watched.interval,
        "fault": watched.fault,
        "faults": watched.faults(),
        "span": _span(watched),
        "figures": _figures(watched),
        "columns": [_column(each) for each in watched.columns],
        "history": history,
        "history_said": said,
        "newest": [_prediction(row) for row in newest],
    }


def _span(watched: Watched) -> str:
    if not watched.rows:
        return ""
    first, last = (f"{utc_from_us(us):%Y-%m-%d %H:%M}" for us in (watched.from_us, watched.to_us))
    return f"{watched.rows:,} rows of features from {first} to {last} UTC"


def _figures(watched: Watched) -> list[tuple[str, str, str]]:
    far, weight = len(watched.drifted), watched.drifted_weight
    found = [
        (f"of {len(watched.columns)} features far off", f"{far}", ""),
        ("of its weight far off", f"{weight:.0%}", "down" if weight > WEIGHT_PART_MAX else ""),
    ]
    if (moved := watched.prediction) is not None:
        found.append(("PSI of predictions", f"{moved.psi:.3f}", "down" if moved.large else ""))
    if (came := watched.performance) is not None:
        now, then = came.metrics, came.tested
        worse = "down" if came.worse else "up"
        found += [
            (f"log loss; in tests {then['log_loss']:.4f}", f"{now['log_loss']:.4f}", worse),
            (f"hit rate; in tests {then.get('hit_rate', 0):.1%}", f"{now['hit_rate']:.1%}", ""),
            ("correlation with returns", f"{now['correlation']:+.3f}", mood(now["correlation"])),
            ("labels that have come", f"{came.rows:,}", ""),
        ]
    return found


def _column(column: Column) -> dict[str, Any]:
    found = column.found
    return {
        "name": column.name,
        "weight": f"{column.weight:.4f}",
        "weight_said": f"{column.weight:.1%}",
        "psi": f"{found.psi:.3f}" if found else "too few",
        "ks": f"{found.ks:.3f}" if found else "",
        "mood": "down" if column.large else "",
        "bins": Markup(bins(column.trained, column.now)) if column.now else "",
        "then": f"{column.trained.quantiles[GRID // 2]:.4g}",
        "now": f"{column.now.quantiles[GRID // 2]:.4g}" if column.now else "",
    }


def bins(trained: Profile, now: Profile) -> str:
    """Return a picture of the part of values in each tenth of the training's, to a thousandth."""
    edges = trained.quantiles[GRID // BINS : -1 : GRID // BINS]
    counts = np.bincount(
        np.searchsorted(edges, now.quantiles, side="right"), minlength=len(edges) + 1
    )
    shares = counts / len(now.quantiles)
    tallest = max(float(shares.max()), 2 / BINS)
    bars = []
    for n, share in enumerate(shares.tolist()):
        height = share / tallest * BIN_HEIGHT
        bars.append(
            f'<rect class="now" x="{n * BIN_WIDTH + 1}" width="{BIN_WIDTH - 2}"'
            f' y="{BIN_HEIGHT - height:.1f}" height="{height:.1f}"/>'
        )
    width, even = len(shares) * BIN_WIDTH, BIN_HEIGHT * (1 - 1 / BINS / tallest)
    line = f'<line class="then" x1="0" x2="{width}" y1="{even:.1f}" y2="{even:.1f}"/>'
    return f'<svg viewBox="0 0 {width} {BIN_HEIGHT}" role="img">{"".join(bars)}{line}</svg>'


def _history(connection: psycopg.Connection[dict[str, Any]], watched: Watched) -> tuple[str, str]:
    """Return a line of the log loss over the runs, or of the predictions' PSI where there is none.

    Two empty texts where there are not two runs yet.
    """
    for what, measure, said in (
        ("performance", "log_loss", "Log loss, run by run"),
        ("predictions", "psi", "PSI of predictions, run by run"),
    ):
        rule = f"drift.{watched.model}.{watched.role}.{what}"
        rows = connection.execute(_HISTORY, (rule, str(watched.version), HISTORY_MAX)).fetchall()
        points = [
            (int(row["checked_time"].timestamp() * 1e6), json.loads(row["rows_at_fault"])[0])
            for row in reversed(rows)
        ]
        if len(points) > 1:
            times = np.array([at for at, _ in points], np.int64)
            values = np.array([measured[measure] for _, measured in points])
            return Markup(line_chart(times, values, None, "small")), said
    return "", ""


def _prediction(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "time": f"{row['event_time']:%Y-%m-%d %H:%M}",
        "ticker": row["ticker"],
        "prediction": f"{row['prediction']:+.3f}",
        "mood": mood(row["prediction"]),
        "confidence": f"{row['confidence']:.1%}",
        "why": ", ".join(_heaviest(json.loads(row["contributions"] or "{}"))),
    }


def _heaviest(parts: Mapping[str, float]) -> Sequence[str]:
    features = (each for each in parts.items() if each[0] != REST)
    order = sorted(features, key=lambda each: -abs(each[1]))
    return [f"{name} {value:+.3f}" for name, value in order[:WHY_MAX]]
