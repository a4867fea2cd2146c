"""What a champion says of rows of features, for who decides by one version until told otherwise.

A version is named NAME/NUMBER. The same one says the same of the same rows, live or in a replay:
routes are not looked at, and nobody stands in for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from feature_repo.trading.market import Row
from lake.clock import Clock
from lake.errors import TicklakeError, Unavailable
from serving.live.told import feature_rows
from serving.signals.loaded import Loaded
from serving.signals.models import Models
from serving.signals.route import CHAMPION
from serving.signals.scoring import ask, predictions, told_of, whole

VALUE = "prediction"


class ChampionModels:
    """Of a model of this name, "": the first that has a champion. One thread uses it."""

    def __init__(self, models: Models, clock: Clock, name: str = "") -> None:
        self._models = models
        self._clock = clock
        self._name = name
        self._used: Loaded | None = None

    def newest(self) -> str:
        """Return the version that is champion now and can be used; "" where there is none."""
        for name, use in self._models.in_use.items():
            seat = use.seats.get(CHAMPION)
            if self._name in ("", name) and seat is not None and seat.now is not None:
                return f"{name}/{seat.now.version.version}"
        return ""

    def use(self, version: str) -> None:
        """Use a version from now on, "" for none; Unavailable where it can't be had."""
        if not version:
            self._used = None
            return
        name, _, number = version.rpartition("/")
        if not number.isdecimal():
            raise Unavailable(f"version {version}", "is none", "NAME/NUMBER: ticklake models list")
        try:
            self._used = self._models.version(name, int(number))
        except TicklakeError as error:
            raise Unavailable(f"version {version}", str(error), "train it again") from error

    def say(self, features: pa.Table) -> Sequence[Row]:
        """Return predictions as rows of the value "prediction", in the order of the rows.

        features: rows of closed minutes, as of serving.live.live_features. A row that the version
        does not take whole has none. Raises Unavailable where the version is late or fails.
        """
        version = self._used
        if version is None or not features.num_rows:
            return []
        told = [told_of(row, 0) for row in feature_rows(features)]
        taken, vectors = whole(version, told)
        if not taken:
            return []
        try:
            said = predictions(ask(version, CHAMPION, taken, vectors, self._clock), "")
        except TicklakeError as error:
            raise Unavailable(version.words, str(error), "see its log") from error
        return [
            Row(row.instrument, row.t_us, row.known_us, {VALUE: each.prediction})
            for row, each in zip(taken, said, strict=True)
        ]
