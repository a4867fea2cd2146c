"""A session: rows and words in, orders and what becomes of them out; pure, and the same each time.

Live, in a replay of the journal and over the lake's tables this is the code that decides, and it is
given the same: rows in the order of the journal, each known when it was received, and words in
their places among the frames. In which pieces rows come makes no difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from feature_repo.feature_set import MARKET
from feature_repo.trading.market import Event, Quote, Row
from feature_repo.trading.order import Order, Report
from feature_repo.trading.simulation import Arrived, Placed, Simulation
from feature_repo.trading.strategy import Strategy
from lake.closes import Closes
from lake.errors import Unavailable, WrongUse
from lake.feeds.codec import INDEX_BITS
from serving.risk.prices import Prices, is_sound
from serving.session.answers import Answers
from serving.session.gate import Gate
from serving.session.minutes import GRACE_US, INTERVAL, Minutes, bars_of_minutes
from serving.session.models import ModelGone, NoModels
from serving.session.plan import WITH_ROWS, Start
from serving.session.rows_to_events import Known, events_of
from serving.session.warm import NOTHING, Warm
from serving.session.words import Word
from serving.signals.prediction import key_of

SAMPLE_US = 60_000_000
OUT_MAX = 100_000
"""What is said and not taken away: a caller that does not is stopped."""


@dataclass(frozen=True, slots=True)
class Decided:
    """An order that a strategy wants, when, and why it may not go out; "": it does.

    Where the strategy decided by a model, else "": model: the version that was followed; features:
    the row that it spoke of; prediction: what it said is called.
    """

    order: Order
    placed_us: int
    refusal: str = ""
    model: str = ""
    features: str = ""
    prediction: str = ""


@dataclass(frozen=True, slots=True)
class Out:
    """Something said of an account's order. frame: the last that it rests on."""

    account: str
    frame: int
    said: Decided | Arrived | Report


class Session(Closes):
    """One thread uses it. A context manager.

    warm: what is known before the first row; models: where predictions come from.
    """

    def __init__(self, start: Start, warm: Warm = NOTHING, models: Answers | None = None) -> None:
        self.start = start
        self.clock_us = start.started_us
        self.frame = start.first_frame - 1
        """The last frame of which a row was taken."""
        self._rests_on = self.frame
        self.killed = self.late = self.ended = False
        self.unsound = 0
        """Quotes left out: crossed, or without a side."""
        self.model = self._features = self._prediction = ""
        self._models = models or Answers(NoModels())
        self._minutes = Minutes(
            warm if warm.closed_us else warm.at(start.started_us - GRACE_US),
            self._models,
            rows=start.plan.wants_rows,
        )
        self._prices = Prices()
        self._out: list[Out] = []
        self._gates: list[Gate] = []
        self._seats = [self._seat(strategy) for strategy in start.plan.made()]
        for bar in bars_of_minutes(warm.bars):
            self._feed(bar)
        for gate, account in zip(self._gates, start.plan.strategies, strict=True):
            gate.begin(start.openings[account].began, start.started_us)
        self._open()

    def close(self) -> None:
        """Let go of the memory."""
        self._minutes.close()

    @property
    def due_us(self) -> int:
        """Return what the clock must say for the next minute to close."""
        return self._minutes.due_us

    def prepare(self, now_us: int) -> None:
        """Begin to make what the next minute's close brings, if it is over by a time.

        Who calls it is not kept waiting by the close; what is decided is the same.
        """
        self._minutes.prepare(now_us)

    def take(self, tables: Mapping[str, pa.Table]) -> None:
        """Take rows of crypto_trades and crypto_quotes, all of frames beyond what was taken."""
        after_seq = ((self.frame + 1) << INDEX_BITS) - 1
        known = events_of(tables, self.clock_us, after_seq)
        at = 0
        while at < len(known.events) and not self.ended:
            upto = int(np.searchsorted(known.known_us, self.due_us))
            if upto > at:
                self._take(known, at, upto)
                at = upto
            if at < len(known.events):
                self._rests_on = int(known.seq[at]) >> INDEX_BITS  # it says the time
                self._pass(int(known.known_us[at]))

    def word(self, word: Word) -> None:
        """Take a word, after every row up to its place."""
        if word.kind == "tick":
            self._pass(max(word.at_us, self.clock_us))
        elif word.kind in ("kill", "end"):
            self.killed |= word.kind == "kill"
            self.ended |= word.kind == "end"
            for seat in self._seats:
                seat.stop(self.clock_us)
        elif word.kind == "free":
            self.killed = False
        elif word.kind in ("late", "on_time"):
            self.late = word.kind == "late"
        elif word.kind == "model":
            self.model = str(word.said["version"])
            self._use(self.model)
        self._open()

    def _use(self, version: str) -> None:
        try:
            self._models.use(version)
        except Unavailable as error:
            raise ModelGone(error.thing, error.fault, error.remedy) from error

    def drain(self) -> list[Out]:
        """Return what was said since the last call."""
        found, self._out = self._out, []
        return found

    def _seat(self, strategy: Strategy) -> Simulation:
        plan, name = self.start.plan, strategy.name
        gate = Gate(plan.limits_here, self._prices, self.start.openings[name].elsewhere)
        self._gates.append(gate)

        def hear(said: Placed | Arrived | Report) -> None:
            self._hear(name, said)

        made = Simulation(
            *(strategy,),
            cash=0,
            costs=plan.costs,
            by="quotes",
            sample_us=SAMPLE_US,
            guard=gate,
            hear=hear,
        )
        self.start.openings[name].enter(made.account)
        return made

    def _hear(self, account: str, said: Placed | Arrived | Report) -> None:
        if isinstance(said, Placed):
            follows = account in WITH_ROWS
            rests = (self._version(), self._features, self._prediction) if follows else ()
            decided = Decided(said.order, said.placed_us, said.reason, *rests)
            self._out.append(Out(account, self._rests_on, decided))
        else:
            self._out.append(Out(account, self._rests_on, said))
        if len(self._out) > OUT_MAX:
            fault = f"{OUT_MAX:,} of its reports wait"
            raise WrongUse(f"session {self.start.session}", fault, "take them away more often")

    def _version(self) -> str:
        """Return the version that spoke, of those that share the rows."""
        if not self._prediction:
            return self.model
        spoke = key_of(self._prediction)
        return f"{spoke.model}/{spoke.version}"

    def _take(self, known: Known, at: int, upto: int) -> None:
        """Take events within one minute."""
        trades = known.trades
        seqs = trades["seq"].to_numpy()
        first = int(np.searchsorted(seqs, known.seq[at]))
        last = int(np.searchsorted(seqs, known.seq[upto - 1], "right"))
        self._minutes.take(trades.slice(first, last - first))
        frames = (known.seq >> INDEX_BITS).tolist()
        for i in range(at, upto):
            event = known.events[i]
            self.clock_us = event.available_us
            self.frame = self._rests_on = frames[i]
            if type(event) is Quote and not is_sound(event):
                self.unsound += 1
                continue
            self._prices.take(event)
            self._feed(event)

    def _pass(self, now_us: int) -> None:
        """Let the clock go on to a time, and close the minutes that it passes."""
        if now_us >= self.due_us:
            for event in self._minutes.closed(now_us):
                self.clock_us = max(self.clock_us, event.available_us)
                self._feed(event._replace(available_us=self.clock_us))
        self.clock_us = max(self.clock_us, now_us)

    def _feed(self, event: Event) -> None:
        self._features = self._prediction = ""
        if type(event) is Row:
            self._features, self._prediction = row_words(event), event.name
        for seat in self._seats:
            seat.feed(event)

    def _open(self) -> None:
        for gate in self._gates:
            gate.is_open = not (self.killed or self.late or self.ended)


def row_words(row: Row) -> str:
    """Return a row of features as an order's origin names it: by its key in features_market."""
    ticker, exchange, market = row.instrument
    return f"{MARKET.dataset}:{exchange}/{market}/{ticker}/{INTERVAL}@{row.time_us}"
