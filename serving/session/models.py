"""Where a session's predictions come from: a port, and nobody behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa

from feature_repo.trading.market import Row
from lake.errors import Unavailable


class Models(Protocol):
    """Scores rows of features. The same version says the same of the same rows, live or not."""

    def newest(self) -> str:
        """Return the version that a live session is to use now; asked between rounds."""

    def use(self, version: str) -> None:
        """Use a version from now on; raises Unavailable where it can't be had."""

    def say(self, features: pa.Table) -> Sequence[Row]:
        """Return predictions as rows of the value "prediction"; their times are not looked at.

        features: rows of closed minutes, as of serving.live.live_features.
        """


class ModelGone(Unavailable):
    """A version that a session's log names can't be had any more."""


class NoModels:
    """Stands where there are none."""

    def newest(self) -> str:
        """Return no version."""
        return ""

    def use(self, version: str) -> None:
        """Do nothing."""

    def say(self, features: pa.Table) -> Sequence[Row]:
        """Say nothing."""
        return ()
