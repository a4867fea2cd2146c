"""The process of signals of a home: models in use, scored as minutes close.

    python -m serving.signals.run HOME [beside]

beside: it ends where its standard input does, so with whoever started it. Of two of a home, one
has the turn; the other waits for it. Without a registry or models it waits for those, too.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from lake.clock import Clock, SystemClock
from lake.errors import TicklakeError
from lake.roles import role_dsn
from lake.state import valkey_url
from serving.live.process import AGAIN_S, BESIDE, steady, stops_when_told
from serving.live.report import FAULTS, SIGNALS, saying
from serving.signals.look_back import LookBack
from serving.signals.models import Models
from serving.signals.outcomes import Counter
from serving.signals.recorder import Recorder
from serving.signals.scorer import Scorer, Updates
from serving.signals.silence import OF_SIGNALS, Silences, look_at_seats, said_of
from serving.signals.silence_to_alerts import SilenceAlerts, telling
from serving.streams import owner
from serving.streams.connect import connected

LOG = logging.getLogger("ticklake.signals")
GROUP, TURN = "signals", 0
RENEW_US = owner.TURN_MS * 1_000 // 3
END_S_MAX = 4.0
ROLE = "service"
"""Who may add to model_predictions and change nothing there."""


class Signals:
    """Of one home (absolute path); ends when `stop` is set."""

    def __init__(self, home: Path, clock: Clock) -> None:
        self._home = home
        self._clock = clock
        self.models = Models(home)
        self.silences = Silences(clock)
        self.stop = threading.Event()

    def run(self) -> None:
        """Score for as long as nobody stops it, whatever happens meanwhile."""
        client = connected(valkey_url(self._home))
        recorder = Recorder(role_dsn(self._home, ROLE))
        counter = Counter(self._home, self.models, client, self._clock)
        threads = [
            threading.Thread(target=each.run, daemon=True)
            for each in (self.models, recorder, counter)
        ]
        for thread in threads:
            thread.start()
        while not self.stop.is_set():
            try:
                self._take_turn(client, recorder, counter)
            except (TicklakeError, RedisError, OSError) as error:
                LOG.warning("signals: %s", " ".join(str(error).split()))
            self.stop.wait(AGAIN_S)
        self.models.stop.set()
        counter.stop.set()
        recorder.end()
        for thread in threads:
            thread.join(END_S_MAX)
        client.close()

    def _take_turn(self, client: Redis, recorder: Recorder, counter: Counter) -> None:
        """Score while the turn is ours; at once back where it is another's, or no model is here."""
        if not any(each.has_any for each in self.models.in_use.values()):
            return
        turn = owner.take(client, GROUP, TURN)
        if turn is None:
            return
        look_back = LookBack()
        scorer = Scorer(
            client,
            recorder,
            self._clock,
            lambda: self.models.in_use,
            lambda: counter.found,
            self.silences,
            look_back,
        )
        scorer.begin()
        updates = Updates(client, self._clock, look_back)
        steady()
        renewed_us = self._clock.monotonic_us()
        while not self.stop.is_set():
            rows = updates.read()
            if rows or self._clock.monotonic_us() - renewed_us > RENEW_US:
                turn.renew()  # Fenced, and nothing told, where it is another's
                renewed_us = self._clock.monotonic_us()
            if rows:
                scorer.score(rows)
            scorer.foresee(updates.ahead())
        turn.leave()

    def look(self) -> None:
        """Note champions that can't be used; what the registry did not say yet, nobody knows."""
        if self.models.looks and not self.models.fault:
            look_at_seats(self.silences, self.models.in_use)

    def said(self) -> Mapping[str, Any]:
        """Return what the process says of itself."""
        return {FAULTS: said_of(self.silences)}


def main() -> None:
    """Run until a signal comes."""
    home, clock = Path(sys.argv[1]).resolve(), SystemClock()
    signals = Signals(home, clock)
    stops_when_told(signals.stop, is_beside=sys.argv[2:] == [BESIDE])
    alerts = SilenceAlerts(role_dsn(home, ROLE), clock, signals.silences, OF_SIGNALS)
    with saying(home, SIGNALS, clock, signals.said), telling(alerts, signals.look):
        signals.run()


if __name__ == "__main__":
    main()
