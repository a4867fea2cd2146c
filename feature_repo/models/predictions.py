"""What a version of a model says of vectors, as rows of model_predictions: one way, batch or live.

A row has the very vector, so that whoever has the version comes to the same bits, and what each
feature added: a row's contributions and rest sum to the log-odds of up over down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from feature_repo.models.learner import confidence, prediction
from lake.clock import Clock
from lake.errors import BadInput

Float64 = npt.NDArray[np.float64]
Source = Literal["batch", "live"]

DATASET = "model_predictions"
REST = "rest"
"""Name among contributions of what no feature adds: what the model says of a mean row."""

KEYS = ("ticker", "exchange", "market", "interval")
TIMES = ("event_time", "features_time", "features_recorded_time")
US = pa.timestamp("us", "UTC")


class Says(Protocol):
    """A model that looks at one vector at a time, or at a window of them."""

    @property
    def names(self) -> tuple[str, ...]:
        """Its features, as a vector has them."""

    @property
    def window(self) -> int:
        """How many rows a prediction is made of."""

    def probabilities(self, features: Float64) -> Float64:
        """Return the probability of down, flat and up, a row each."""

    def explain(self, features: Float64) -> Float64:
        """Return what each feature adds, a row each; the last column is the rest."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """A version of a model with the role that it has while it speaks."""

    model: str
    version: int
    role: str
    release: str


def prediction_rows(
    model: Says,
    speaker: Speaker,
    rows: pa.Table,
    clock: Clock,
    *,
    source: Source = "batch",
    explained: bool = True,
    windows: Float64 | None = None,
) -> pa.Table:
    """Return the rows of what a version says, as lake.hot.numbered.append takes them.

    rows: KEYS, TIMES and a double a feature of the model, none null. explained: with contributions,
    which cost some hundred times the prediction. windows: for a model that looks at several rows,
    rows by window by features, oldest first. BadInput for what is no vector of the model.
    """
    missing = [name for name in (*KEYS, *TIMES, *model.names) if name not in rows.column_names]
    if missing:
        raise BadInput("rows to predict", f"have no {', '.join(missing)}", "join them first")
    vectors = vectors_of(model.names, rows) if windows is None else windows
    began_us = clock.monotonic_us()
    probabilities = model.probabilities(vectors)
    spent_us = (clock.monotonic_us() - began_us) // max(1, len(vectors))
    parts = model.explain(vectors) if explained else None
    said = Said(model.names, vectors, probabilities, parts, spent_us, clock.now_us())
    return said_rows(said, speaker, rows, source)


def vectors_of(names: Sequence[str], rows: pa.Table) -> Float64:
    """Return the vector of each row."""
    return np.column_stack([rows[name].to_numpy() for name in names]).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Said:
    """What a version said of vectors, a row each. parts: as Says.explain, None where not asked.

    vectors: rows by features, or rows by window by features.
    spent_us: microseconds that a row took; made_us: when all were there, UTC.
    """

    names: tuple[str, ...]
    vectors: Float64
    probabilities: Float64
    parts: Float64 | None
    spent_us: int
    made_us: int


def said_rows(said: Said, speaker: Speaker, rows: pa.Table, source: Source) -> pa.Table:
    """Return the rows of what was said, as prediction_rows does. rows: KEYS and TIMES of each."""
    count, probabilities = rows.num_rows, said.probabilities
    return pa.table(
        {
            **{name: rows[name] for name in KEYS},
            **{name: rows[name].cast(US) for name in TIMES},
            "available_time": pa.array(np.full(count, said.made_us), US),
            "model": _all(speaker.model, count),
            "model_version": pa.array(np.full(count, speaker.version, np.int64)),
            "role": _all(speaker.role, count),
            "release": _all(speaker.release, count),
            "source": _all(source, count),
            "prediction": prediction(probabilities),
            "confidence": confidence(probabilities),
            "probability_down": probabilities[:, 0],
            "probability_flat": probabilities[:, 1],
            "probability_up": probabilities[:, 2],
            "features": as_json(said.names, said.vectors),
            "contributions": pa.nulls(count, pa.string())
            if said.parts is None
            else as_json((*said.names, REST), said.parts),
            "latency_us": pa.array(np.full(count, said.spent_us, np.int64)),
        }
    )


def as_json(names: Sequence[str], values: Float64) -> pa.Array:
    """Return each row as a JSON object of its numbers; read back they have the same bits.

    values: rows by names; of rows by window by names each name has an array, oldest first.
    """
    frame = pl.DataFrame({name: values[..., place] for place, name in enumerate(names)})
    text = frame.select(pl.struct(pl.all()).struct.json_encode()).to_series()
    return text.to_arrow().cast(pa.string())


def _all(text: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(text), count)
