"""How predictions came out: by version, how often their sign was that of the label.

Versions are scored beside each other on the same rows, so each arm of a bandit has an outcome of
every row that has a label, whoever decided it. What was counted is told in Redis, where the service
finds it, and logged when it changes: it is what draws are made from.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
from redis import Redis
from redis.exceptions import RedisError

from feature_repo.labels.versions import DEAD_BAND, HORIZONS
from lake.client import Client, connect
from lake.clock import Clock, utc_from_us
from lake.errors import TicklakeError
from lake.views.engine import quote
from serving.signals.loaded import INTERVAL
from serving.signals.models import InUse, Models
from serving.signals.route import BANDIT, Outcomes
from serving.streams import keys

LOG = logging.getLogger("ticklake.signals")
WINDOW = timedelta(days=7)
EVERY_S = 60.0
ROLE = "service"

ByVersion = Mapping[int, Outcomes]


def outcomes_sql(use: InUse, now_us: int) -> str:
    """Select version, right and wrong of a model's predictions of the newest week.

    A row of features that has been corrected counts with its first prediction, a label with its
    newest version.
    """
    since = f"event_time >= {quote((utc_from_us(now_us) - WINDOW).isoformat())}::TIMESTAMPTZ"
    interval = f'"interval" = {quote(INTERVAL)}'
    series = 'ticker, exchange, market, "interval", event_time'
    return (
        "SELECT model_version, count(*) FILTER (sign(prediction) = label_side) AS right_count,"
        " count(*) FILTER (sign(prediction) <> label_side) AS wrong_count FROM"
        f" (FROM model_predictions WHERE model = {quote(use.name)} AND {interval} AND {since}"
        f" QUALIFY row_number() OVER (PARTITION BY model_version, {series}"
        " ORDER BY features_time, row_no) = 1) AS said JOIN"
        f" (FROM labels_market WHERE label = {quote(label_of(use))} AND {interval} AND {since}"
        f" AND horizon_bars = {HORIZONS[INTERVAL]}"
        f" QUALIFY row_number() OVER (PARTITION BY {series}"
        f" ORDER BY available_time DESC, recorded_time DESC) = 1) AS came USING ({series})"
        " WHERE label_side <> 0 GROUP BY ALL"
    )


def label_of(use: InUse) -> str:
    """Return the label that a model's versions were taught; "" where labels_market has none such.

    Such are forward returns and barriers of HORIZONS bars, with the usual dead band.
    """
    taught = {
        (source.get("label"), source.get("horizon"), source.get("dead_band"))
        for seat in use.seats.values()
        if seat.now is not None and (source := seat.now.card.facts["source"])
    }
    made = {(label, HORIZONS[INTERVAL], DEAD_BAND) for label in ("forward", "barrier")}
    return str(next(iter(taught))[0]) if len(taught) == 1 and taught <= made else ""


class Counter:
    """Counts outcomes of the models that are routed by a bandit; run() in a thread."""

    def __init__(self, home: Path, models: Models, client: Redis, clock: Clock) -> None:
        self._home = home
        self._models = models
        self._client = client
        self._clock = clock
        self.found: dict[str, ByVersion] = {}
        self.stop = threading.Event()

    def run(self) -> None:
        """Count every so often, until stopped."""
        while not self.stop.wait(EVERY_S if self.found else min(EVERY_S, 5.0)):
            try:
                self.count()
            except (TicklakeError, RedisError) as error:
                LOG.warning("outcomes: %s", error)

    def count(self) -> None:
        """Count once, and tell it. Raises what the lake and Redis do."""
        asked = [each for each in self._models.in_use.values() if each.route.kind == BANDIT]
        if not asked:
            self.found = {}
            return
        with connect(self._home, role=ROLE) as lake:
            found = {each.name: self._counted(lake, each) for each in asked}
        if found != self.found:
            LOG.info("outcomes: %s", as_json(found).decode())
        self.found = found
        self._client.set(keys.OUTCOMES, as_json(found))

    def _counted(self, lake: Client, use: InUse) -> ByVersion:
        if not label_of(use):
            LOG.warning("outcomes of %s: its label is not in labels_market", use.name)
            return {}
        rows = lake.arrow(outcomes_sql(use, self._clock.now_us())).to_pylist()
        return {
            int(row["model_version"]): Outcomes(row["right_count"], row["wrong_count"])
            for row in rows
        }


def as_json(found: Mapping[str, ByVersion]) -> bytes:
    """Return outcomes by model as JSON."""
    plain = {
        name: {str(version): [each.right, each.wrong] for version, each in sorted(of.items())}
        for name, of in found.items()
    }
    return orjson.dumps(plain)


def kept(client: Redis, model: str) -> ByVersion:
    """Return what was counted last of a model; nothing where that can't be read."""
    with suppress(ValueError, TypeError, KeyError, AttributeError):
        raw: Any = client.get(keys.OUTCOMES)
        found = orjson.loads(raw or b"{}").get(model, {})
        return {int(version): Outcomes(*counts) for version, counts in found.items()}
    return {}
