"""A release becomes the rows of a training: what was known of each bar, and what came after it.

A row is a bar that has features. It stands at the time from which they were there to be read, and
sees what features_market held at that time; a correction that came later is not in it. A bar that
came after newer ones is no row: who decided then looked at those. Of other sets a row sees the
newest values that were there at its time, of its own bar or of one shortly before it. Labels are of
the bars as the release has them, known when the last version of the last of them was.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo.feature_set import FeatureSet, feature_set
from feature_repo.labels.forward import Labels, Series, forward_return, triple_barrier
from flows.held_spans import Span, partly, require_held, span_of_ends
from lake.bars.kernel import WIDTHS_US
from lake.contracts.contract import load
from lake.errors import BadInput, WrongUse
from lake.features.features_table import DATASET
from lake.training.feature_table import FeatureTable, FixedValue
from lake.training.training_set import training_set
from lake.views.client import Client
from lake.views.engine import quote

KEYS = ("ticker", "exchange", "market")
FORWARD, BARRIER = "forward", "barrier"
LABELS = (FORWARD, BARRIER)
WIDTH = "realised_volatility_30"
"""Feature that the barriers are as wide as, times the root of the horizon."""

DEAD_BAND = 0.0002
"""Two basis points: what the least of costs would take. With none, side 0 is too rare to learn."""

US = pa.timestamp("us", "UTC")


@dataclass(frozen=True, slots=True)
class Ask:
    """Which rows of a release: series by interval and tickers (none: all), labels, a span.

    label: forward or barrier; horizon: in bars; dead_band: a forward return up to so much, either
    way, is side 0. since (inclusive), until (exclusive): bars' ends,
    ISO 8601 with a zone; "" for no bound. feature_set: name -> version is the one that is read;
    beside: sets whose values of the same series join it, name -> version.
    WrongUse for an interval or label that there is not, BadInput for a time without a zone.
    """

    interval: str = "1m"
    tickers: tuple[str, ...] = ()
    label: str = FORWARD
    horizon: int = 15
    dead_band: float = DEAD_BAND
    since: str = ""
    until: str = ""
    feature_set: str = "market"
    set_version: int | None = None
    beside: Mapping[str, int] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.interval not in WIDTHS_US or self.interval == "1s":
            known = ", ".join(each for each in WIDTHS_US if each != "1s")
            raise WrongUse(f"interval {self.interval}", "has no features", f"one of {known}")
        if self.label not in LABELS:
            raise WrongUse(f"label {self.label}", "is unknown", f"one of {', '.join(LABELS)}")
        for given in filter(None, (self.since, self.until)):
            _moment(given)

    @property
    def set(self) -> FeatureSet:
        """The set whose features are read; WrongUse where there is none."""
        return feature_set(self.feature_set, self.set_version)

    def config(self) -> dict[str, Any]:
        """Return what was asked, as JSON has it, with the version of the set that it meant."""
        config = {**asdict(self), "tickers": list(self.tickers), "set_version": self.set.version}
        if not self.beside:
            del config["beside"]  # configs of before have none
        return config

    def versions(self) -> dict[str, str]:
        """Return the version of each set that is read."""
        beside = {name: str(version) for name, version in self.beside.items()}
        return {self.feature_set: str(self.set.version), **beside}


def ask_of(config: Mapping[str, Any]) -> Ask:
    """Return what a config of before asked."""
    return Ask(**{**config, "tickers": tuple(config["tickers"])})


def rows_of_release(client: Client, ask: Ask, *, whole: bool = False) -> pa.Table:
    """Return the rows, as feature_repo.models.rows.rows_of takes them; client: at the release.

    whole: refuse a release that holds a part only of the span that is asked for. Raises BadInput
    where the release has no such bars with features; Unavailable where it lacks a part.
    """
    if whole and (ask.since or ask.until):
        _require_whole(client, ask)
    known = client.arrow(_known_bars(ask))
    labelled = [rows for series in _series(known) for rows in _labelled(series, ask)]
    if not labelled:
        raise BadInput(
            f"{DATASET} of {ask.interval}",
            f"has no rows with a label {ask.horizon} bars on",
            "`ticklake features materialize`, then make a newer release, or ask for a wider span",
        )
    beside = [feature_set(name, version) for name, version in ask.beside.items()]
    tables = [_table(each, ask) for each in (ask.set, *beside)]
    with tempfile.TemporaryDirectory(prefix="ticklake-rows-") as folder:
        out = Path(folder) / "rows.parquet"
        probes = pa.concat_tables(labelled)
        training_set(client, probes, tables, out, time="available_time", lacking="null", times=True)
        rows = pq.read_table(out)
    own = pc.equal(rows["event_time"], rows[f"{DATASET}_event_time"]).fill_null(False)
    rows = rows.filter(own)
    for each in tables[1:]:
        _require_values(rows, each.dataset)
    times = ("event_time", "available_time")
    return rows.drop_columns([f"{each.dataset}_{time}" for each in tables for time in times])


def lacking(rows: Span, ask: Ask) -> Span | None:
    """Return what was asked for where rows of this span cover less of it; None where all is there.

    Features need bars before the first row, and labels bars after the last.
    """
    width_us = WIDTHS_US[ask.interval]
    asked = _asked(ask, rows)
    slack_us = width_us * (ask.set.lookback + ask.horizon + 1)
    return asked if partly({"rows": rows}, asked, slack_us) else None


def _asked(ask: Ask, held: Span) -> Span:
    """Return the bounds that are asked for; one that is not asked for is where the rows end."""
    first, last = (
        int(_moment(text).timestamp() * 1_000_000) if text else end
        for text, end in zip((ask.since, ask.until), held, strict=True)
    )
    return first, last


def _require_whole(client: Client, ask: Ask) -> None:
    ends = client.arrow(
        "SELECT min(event_time) AS first_time, max(event_time) AS last_time FROM bars"
        f' WHERE "interval" = {quote(ask.interval)}'
    )
    held = span_of_ends(ends, WIDTHS_US[ask.interval])
    asked = _asked(ask, held or (0, 0))
    require_held(str(client.release), f"bars of {ask.interval}", held, asked)


def _table(of: FeatureSet, ask: Ask) -> FeatureTable:
    fixed: dict[str, FixedValue] = {"interval": ask.interval, "set_version": of.version}
    return FeatureTable(of.dataset, tuple(of.names), lag_max(ask.interval), KEYS, fixed)


def _require_values(rows: pa.Table, dataset: str) -> None:
    """Raise BadInput where no row has a value of a set: what it is made of is not there."""
    if rows.num_rows == rows[f"{dataset}_event_time"].null_count:
        remedy = "`ticklake features materialize`, then make a newer release, or leave its set out"
        raise BadInput(dataset, "has no value at any of the rows", remedy)


def lag_max(interval: str) -> timedelta:
    """Return how long after its end a bar's features may come for it to be a row at all."""
    latency = timedelta(minutes=load("bars").freshness_minutes or 0)
    return latency + timedelta(microseconds=WIDTHS_US[interval]) * 2


def _known_bars(ask: Ask) -> str:
    """Select bars that have features: when they were known first and last, and their prices."""
    where = [f'f."interval" = {quote(ask.interval)}', f"f.set_version = {ask.set.version}"]
    if ask.tickers:
        where.append(f"f.ticker IN ({', '.join(map(quote, ask.tickers))})")
    if ask.since:
        where.append(f"f.event_time >= {quote(ask.since)}::TIMESTAMPTZ")
    if ask.until:
        where.append(f"f.event_time < {quote(ask.until)}::TIMESTAMPTZ")
    keys = ", ".join(KEYS)
    return (
        f"SELECT {keys}, f.event_time, f.first_time, f.last_time, f.width, b.high, b.low, b.close"
        f" FROM (SELECT {keys}, event_time,"
        " min(available_time) AS first_time, max(available_time) AS last_time,"
        f" arg_min({WIDTH}, (available_time, -epoch_us(recorded_time))) AS width"
        f" FROM {DATASET} AS f"
        f" WHERE {' AND '.join(where)} GROUP BY ALL) AS f JOIN (SELECT {keys}, high, low, close,"
        f" event_time + to_microseconds({WIDTHS_US[ask.interval]}) AS event_time FROM bars"
        f' WHERE "interval" = {quote(ask.interval)}) AS b USING ({keys}, event_time)'
        f" ORDER BY {keys}, f.event_time"
    )


def _series(known: pa.Table) -> Iterator[pa.Table]:
    """Yield the bars of each series."""
    if not known.num_rows:
        return
    changed = np.zeros(known.num_rows, np.bool_)
    changed[0] = True
    for key in KEYS:
        codes = known[key].combine_chunks().dictionary_encode().indices.to_numpy()
        changed[1:] |= codes[1:] != codes[:-1]
    starts = np.flatnonzero(changed)
    for start, end in zip(starts, [*starts[1:], known.num_rows], strict=True):
        yield known.slice(start, end - start)


def _labelled(bars: pa.Table, ask: Ask) -> Iterator[pa.Table]:
    """Yield the bars of a series that have a label, with it; nothing where none has."""
    end, first, last = (
        bars[name].cast(pa.int64()).to_numpy() for name in ("event_time", "first_time", "last_time")
    )
    high, low, close = (
        bars[name].cast(pa.float64()).to_numpy() for name in ("high", "low", "close")
    )
    labels = _labels(Series(end, last, high, low, close), bars, ask)
    if not len(labels.row):
        return
    row = labels.row
    yield pa.table(
        {
            **{key: bars[key].take(pa.array(row)) for key in KEYS},
            "event_time": pa.array(end[row], US),
            "available_time": pa.array(np.maximum(end, first)[row], US),
            "label_end_time": pa.array(labels.end_us, US),
            "label_available_time": pa.array(labels.available_us, US),
            "label_value": pa.array(labels.value),
            "label_side": pa.array(labels.side.astype(np.int16)),
        }
    )


def _labels(series: Series, bars: pa.Table, ask: Ask) -> Labels:
    if ask.label == FORWARD:
        return forward_return(series, ask.horizon, dead_band=ask.dead_band)
    width = bars["width"].fill_null(0.0).to_numpy() * np.sqrt(ask.horizon)
    return triple_barrier(series, ask.horizon, width)


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"time {text}", "is none", "write 2024-08-08T00:00:00+00:00") from None
    if found.tzinfo is None:
        raise BadInput(f"time {text}", "has no zone", "write it with +00:00")
    return found
