"""What closes with a minute: its bars and, where wanted, features and predictions, as events.

A bar is given when it closes, and once. What a late tick changes afterwards is not given: whoever
counts bars would count its minute twice, and no order can be had of a price that has been; the lake
and the page have the corrected bar. So it is live, in a replay and from the lake alike.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.feature_set import MARKET, FeatureSet
from feature_repo.trading.market import Bar, Event, Instrument, Row
from feature_repo.trading.money import units_of
from feature_repo.trading.streams import BAR_COLUMNS, times_of
from lake.bars.kernel import MINUTE_US
from lake.closes import Closes
from serving.live.live_bars import CHANGE, CLOSED, READY_US, BarStep, LiveBars
from serving.live.live_features import LiveFeatures
from serving.session.answers import Answers
from serving.session.warm import Warm

GRACE_US = 1_000_000
"""Time after a minute's end at which it closes, by the session's clock."""

INTERVAL = "1m"


class Minutes(Closes):
    """Of one session; one thread uses it. A context manager.

    features: made only where a strategy wants rows; of minutes alone.
    """

    def __init__(
        self, warm: Warm, models: Answers, *, rows: bool, features: FeatureSet = MARKET
    ) -> None:
        self._bars = LiveBars(warm.closed_us)
        self._bars.take(warm.waiting)
        self._models = models
        self._features = LiveFeatures(features, warm.bars) if rows else None
        self._ready: tuple[BarStep, BarStep] | None = None

    def close(self) -> None:
        """Let go of the memory."""
        self._bars.close()

    @property
    def due_us(self) -> int:
        """Return when the next minute closes."""
        return self._bars.closed_us + MINUTE_US + GRACE_US

    def take(self, trades: pa.Table) -> None:
        """Take rows of trades."""
        self._bars.take(trades)

    def prepare(self, now_us: int) -> None:
        """Begin to make what closes next, in another thread, where its minute is over by a time.

        closed() is the quicker for it, and brings the same.
        """
        self._bars.prepare((now_us - READY_US) // MINUTE_US * MINUTE_US, self._prepare)

    def _prepare(self, step: BarStep) -> None:
        """Make features ready, in the bars' thread."""
        minutes = _of_minutes(step)
        if self._features is not None:
            self._features.prepare(minutes)
        self._ready = step, minutes

    def closed(self, now_us: int) -> list[Event]:
        """Close what is due by a time; return what comes of it, as it was known."""
        step = self._bars.step(now_us - GRACE_US)
        ready, self._ready = self._ready, None
        minutes = ready[1] if ready is not None and ready[0] is step else _of_minutes(step)
        news = minutes.put.filter(pc.equal(minutes.put[CHANGE], CLOSED))
        found: list[Event] = list(bars_of_minutes(news))
        if self._features is not None:
            rows = self._features.take(minutes)
            rows = rows.filter(pc.equal(rows[CHANGE], CLOSED))
            found += _rows(rows) if rows.num_rows else []
            found += map(_known, self._models.say(rows)) if rows.num_rows else []
        return sorted(found, key=lambda each: (each.available_us, type(each) is not Bar))


def _of_minutes(step: BarStep) -> BarStep:
    """Return what a step says of bars of a minute."""
    tables = step.put, step.gone
    put, gone = (each.filter(pc.equal(each["interval"], INTERVAL)) for each in tables)
    return BarStep(step.closed_us, put, gone, step.beyond)


def bars_of_minutes(rows: pa.Table) -> list[Bar]:
    """Return bars of minutes as events by time and instrument, known GRACE_US after their end."""
    starts = times_of(rows["event_time"]).tolist()
    names = (rows[name].to_pylist() for name in ("ticker", "exchange", "market"))
    amounts = [units_of(rows[name], name).tolist() for name in BAR_COLUMNS]
    found = [
        Bar(Instrument(*key), start, start + MINUTE_US, start + MINUTE_US + GRACE_US, *values)
        for key, start, *values in zip(zip(*names, strict=True), starts, *amounts, strict=True)
    ]
    return sorted(found, key=lambda each: (each.start_us, each.instrument))


def _rows(rows: pa.Table) -> list[Row]:
    floats = [each.name for each in rows.schema if pa.types.is_floating(each.type)]
    columns = [rows[name].to_pylist() for name in floats]
    ends = times_of(rows["event_time"]).tolist()
    names = (rows[name].to_pylist() for name in ("ticker", "exchange", "market"))
    found = []
    for key, end_us, *values in zip(zip(*names, strict=True), ends, *columns, strict=True):
        there = {n: v for n, v in zip(floats, values, strict=True) if v is not None}
        found.append(Row(Instrument(*key), end_us, end_us + GRACE_US, there))
    return sorted(found, key=lambda each: (each.time_us, each.instrument))


def _known(row: Row) -> Row:
    return row._replace(available_us=row.time_us + GRACE_US)
