"""Answers what the model in use says of an instrument now: the service's port, on its own models.

It reads the newest features in Redis, and says what the process of signals would say of them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from redis import Redis
from redis.exceptions import RedisError

from feature_repo.trading.market import Instrument
from lake.clock import Clock
from lake.errors import TicklakeError, Unavailable
from serving.signals.models import Models
from serving.signals.outcomes import kept
from serving.signals.prediction import Prediction
from serving.signals.route import BANDIT
from serving.signals.scoring import Spoken, Told, decided, is_fresh, looks_back, told_of
from serving.signals.told_signals import HELD_MAX, NewestSignals
from serving.streams import keys


class LivePredictor:
    """Of one service; several threads may ask."""

    def __init__(self, models: Models, client: Redis, clock: Clock) -> None:
        self._models = models
        self._client = client
        self._clock = clock
        self._signals = NewestSignals(client)

    def predict(self, instrument: Instrument, *, explain: bool) -> Prediction | None:
        """Return what decides now; None where there are no fresh features, or none that are whole.

        Raises Unavailable where no model is in use or Redis is away.
        """
        use = self._models.model(instrument.ticker)
        try:
            row = self._newest(instrument)
            if row is None:
                return None
            outcomes = kept(self._client, use.name) if use.route.kind == BANDIT else {}
        except RedisError as error:
            raise Unavailable("redis", "does not answer", "start it: ticklake up") from error
        if looks_back(use):
            return self._told(use.name, row)
        found, spoken = decided(use, [row], outcomes, self._clock)
        if not found:
            return None
        return _explained(found[0], spoken[-1]) if explain else found[0]

    def _told(self, model: str, row: Told) -> Prediction | None:
        """Return what the process of signals told of a row: it has the rows before it, for a model
        of which a version looks at some. Without each feature's part, which is in its row.
        """
        told = self._signals.newest(HELD_MAX)
        key = model, row.instrument, row.known_us
        return next((e for e in told if (e.model, e.instrument, e.known_us) == key), None)

    def signals(self, limit: int) -> Sequence[Prediction]:
        """Return the newest predictions, the newest first; Unavailable where Redis is away."""
        return self._signals.newest(limit)

    def _newest(self, instrument: Instrument) -> Told | None:
        ticker, exchange, market = instrument
        found: Any = self._client.get(keys.features(exchange, market, ticker))
        now_us = self._clock.now_us()
        try:
            row = told_of(orjson.loads(found), now_us) if found else None
        except (KeyError, TypeError, ValueError):
            return None  # of a worker of another version
        return row if row is not None and is_fresh(row, now_us) else None


@contextmanager
def predictor_of(home: Path, client: Redis, clock: Clock) -> Iterator[LivePredictor]:
    """Give a home's (absolute path); its models are looked after until the end."""
    models = Models(home)
    threading.Thread(target=models.run, daemon=True).start()
    try:
        yield LivePredictor(models, client, clock)
    finally:
        models.stop.set()


def _explained(found: Prediction, spoken: Spoken) -> Prediction:
    """Return a prediction with each feature's part; without, where the model does not say."""
    try:
        parts = spoken.version.explain(spoken.said.vectors)[0].tolist()
    except TicklakeError:
        return found
    *each, base = parts
    return replace(
        found, base=base, contributions=dict(zip(spoken.version.names, each, strict=True))
    )
