"""Where a session's predictions come from: a port, and nobody behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa

from feature_repo.trading.market import Row
from lake.errors import Unavailable
from serving.signals.choice import Shared


class Models(Protocol):
    """Scores rows of features. The same choice says the same of the same rows, live or not."""

    def newest(self) -> str:
        """Return the choice of versions that a live session is to use now; asked between rounds."""

    def use(self, choice: str) -> None:
        """Use a choice from now on; raises Unavailable where a version of it can't be had."""

    def shared(self, features: pa.Table) -> Shared:
        """Return rows of closed minutes with who is asked of them.

        features: as of serving.live.live_features.
        """

    def say(self, version: str, features: pa.Table) -> Sequence[Row]:
        """Return predictions of a version, as rows of the value "prediction", each with its id.

        Their times are not looked at. Raises Unavailable where it is late or fails.
        """


class ModelGone(Unavailable):
    """A version that a session's log names can't be had any more."""


class NoModels:
    """Stands where there are none."""

    def newest(self) -> str:
        """Return no choice."""
        return ""

    def use(self, choice: str) -> None:
        """Do nothing."""

    def shared(self, features: pa.Table) -> Shared:
        """Ask nobody."""
        return ()

    def say(self, version: str, features: pa.Table) -> Sequence[Row]:
        """Say nothing."""
        return ()
