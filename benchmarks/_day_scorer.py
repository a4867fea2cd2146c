"""The scorer of a day of ticks (day_of_ticks.py): its clock is moved by hand."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.connection import Connection

from _day import PATIENCE_S, START_US
from tick_to_signal import trained

from lake.bars.kernel import SECOND_US
from lake.clock import ManualClock
from serving.live.process import steady
from serving.signals.models import InUse, Seat
from serving.signals.recorder import Recorder
from serving.signals.scorer import Scorer, Updates
from serving.signals.scoring import Spoken
from serving.streams.connect import connected


class NotKept(Recorder):
    """Keeps nothing of what was said."""

    def put(self, spoken: Sequence[Spoken]) -> None:
        """Forget it."""


def score(address: str, tickers: int, parent: Connection) -> None:
    """Be the scorer: hear each second's minutes until there is none."""
    clock = ManualClock(START_US)
    client = connected(address, wait_s=PATIENCE_S)
    use = {"bench": InUse("bench", {"champion": Seat(1, trained())})}
    scorer = Scorer(client, NotKept(""), clock, lambda: use, dict)
    scorer.begin()
    updates = Updates(client, clock)
    steady()
    parent.send("ready")
    signals = 0
    while (second := parent.recv()) is not None:
        clock.advance(max(0, START_US + (second + 1) * SECOND_US - clock.now_us()))
        rows = updates.read(1)
        signals += len(scorer.score(rows)) if rows else 0
        scorer.foresee(updates.ahead())
        parent.send("taken")
    parent.send({"signals": signals})
