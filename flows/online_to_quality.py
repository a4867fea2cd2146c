"""What is served, and what models saw live, against the lake, bit for bit, into quality_results.

A run keeps the writer out, takes series by chance among those that the last whole writing of a
view served, asks for them as any client does, ours and those that it is given (Feast's
get_online_features), and compares each float64 of each answer by its bits with the row that the
lake had for it then. By then that writing has replaced what a worker pushed of the same time; so
what workers compute is judged by the vectors of live predictions (flows.live_to_quality). A
difference is an alert until a run finds none. It needs no Prefect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.store.served import Mark, Served, Values
from feature_repo.store.views import MARKET_V1, SERIES, VIEWS, View
from flows.features_to_online import LEASE, newest_rows
from flows.live_to_quality import Compared, compare_live
from flows.numbered_to_lake import take_in_turn
from lake.clock import Clock, SystemClock, utc_from_us
from lake.closes import Closes
from lake.contracts.contract import load
from lake.hot.alerts import clear_alert, raise_alert
from lake.hot.turn import TURN_S_MAX, turn
from lake.parts import ShowPart, by_parts, nobody
from lake.quality import book
from lake.quality.rule import ROWS_NAMED_MAX, QualityRule, Result
from lake.views.client import Client
from lake.warehouse import Warehouse

SAMPLE_MAX = 1_000
"""Series of a view that one run reads."""

ALERT = "online features"
LIVE_ALERT = "live features"
REMEDY = "ticklake features materialize --online; where it comes again, see who else writes there"

RULE = QualityRule(
    dataset=MARKET_V1.of.dataset,
    name="online_equals_lake",
    kind="market",
    dimension="consistency",
    severity="error",
    meaning="What our client and Feast's answer, of every set, is the lake's newest row, bit for"
    " bit.",
    remedy=REMEDY,
    version=load(MARKET_V1.of.dataset).version,
)


OURS, FEAST = "ticklake", "feast"
"""Clients that answer."""


class Answers(Protocol):
    """A client of the online store."""

    def read(self, series: Sequence[tuple[str, str, str, str]], view: View) -> Values:
        """Return what is served of series (ticker, exchange, market, interval), in order."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one run found; ahead: answers pushed beyond the lake, which it can't judge yet.

    result: of what is served; live: of what models saw.
    """

    number: int
    result: Result
    ahead: int
    live: Compared

    def line(self) -> str:
        """Return it in words."""
        said = f"run {self.number}: {self.result.checked:,} answers compared with the lake"
        ahead = f", {self.ahead:,} pushed ahead of it" if self.ahead else ""
        return f"{said}, {self.result.failed:,} differ{ahead}; {self.live.line()}"

    @property
    def broken(self) -> Result | None:
        """Return the first result that does not hold."""
        return next((e for e in (self.result, self.live.result) if not e.holds), None)


class OnlineToQuality(Closes):
    """Audits one lakehouse's online store; one thread uses it at a time. A context manager."""

    def __init__(
        self,
        dsn: str,
        warehouse: Warehouse,
        url: str,
        *,
        clock: Clock | None = None,
        views: Sequence[View] = VIEWS,
        others: Mapping[str, Answers] | None = None,
        sample_max: int = SAMPLE_MAX,
        wait_s: float = TURN_S_MAX,
    ) -> None:
        """Connect; others: clients by name that are asked beside ours, closed by who gave them."""
        self._dsn = dsn
        self._warehouse = warehouse
        self._clock = clock or SystemClock()
        self._views = views
        self._sample_max = sample_max
        self._wait_s = wait_s
        self._served = Served(url)
        self._clients: Mapping[str, Answers] = {OURS: self._served, **(others or {})}
        self._client = Client(dsn, warehouse)

    def close(self) -> None:
        """Close both connections."""
        self._served.close()
        self._client.close()

    def step(self, show: ShowPart = nobody) -> Run:
        """Compare a sample once, write the result down, raise or clear the alert.

        show: is told how far it is.
        """
        faults: list[dict[str, Any]] = []
        checked = ahead = 0
        with turn(self._dsn, LEASE, wait_s=self._wait_s):
            for view in by_parts(self._views, show):
                mark = self._served.mark(view)
                if mark is None:
                    continue
                rows = self._sample(view, mark)
                for client, answers in self._clients.items():
                    values = answers.read(_series(rows), view)
                    later = values.event_us > _event_us(rows)
                    faults += [{"client": client, **e} for e in _faults(view, rows, values, later)]
                    checked, ahead = checked + rows.num_rows, ahead + int(later.sum())
        result = Result(RULE, checked - ahead, len(faults), faults[:ROWS_NAMED_MAX])
        live = compare_live(self._client, self._clock.now_us())
        return Run(self._recorded(result, live.result), result, ahead, live)

    def _sample(self, view: View, mark: Mark) -> pa.Table:
        """Return rows of the lake that the last writing found, and that are not too old now."""
        now_us = self._clock.now_us()
        rows = newest_rows(self._client, view, now_us, recorded_us=mark.read_us)
        if rows.num_rows <= self._sample_max:
            return rows
        chance = np.random.default_rng(now_us)
        taken = np.sort(chance.choice(rows.num_rows, self._sample_max, replace=False))
        return rows.take(pa.array(taken))

    def _recorded(self, served: Result, live: Result) -> int:
        now_us = self._clock.now_us()
        with (
            turn(self._dsn, book.DATASET, wait_s=self._wait_s) as lease,
            psycopg.connect(self._dsn, autocommit=True) as connection,
        ):
            number = book.record(connection, lease, [served, live], {}, now_us)
            take_in_turn(self._dsn, self._warehouse, book.DATASET, lease)
            for result, thing, what in (
                (served, ALERT, "answers are not the lake's rows"),
                (live, LIVE_ALERT, "live vectors are not the lake's rows"),
            ):
                if result.holds:
                    clear_alert(connection, thing)
                    continue
                fault = f"{result.failed:,} {what}"
                raise_alert(connection, self._clock, thing, fault, result.rule.remedy)
        return number


def _series(rows: pa.Table) -> list[tuple[str, str, str, str]]:
    return list(zip(*(rows[each].to_pylist() for each in SERIES), strict=True))


def _event_us(rows: pa.Table) -> Any:
    return rows["event_time"].cast(pa.int64()).to_numpy()


def _faults(view: View, rows: pa.Table, values: Values, later: Any) -> Iterator[dict[str, Any]]:
    """Yield what is wrong, a row each: not served, older than it was written, other bits, or said
    to be known at another time.
    """
    known_us = rows["available_time"].cast(pa.int64()).to_numpy()
    events_us = _event_us(rows)
    columns = [rows[each] for each in view.columns]
    there = np.column_stack([pc.is_valid(each).to_numpy() for each in columns])
    bits = np.column_stack([each.fill_null(0.0).to_numpy().view(np.int64) for each in columns])
    differs = (values.there != there) | (there & (values.bits != bits))
    unknown = (values.known_us >= 0) & (values.known_us != known_us)
    wrong = ~later & ((values.event_us != events_us) | differs.any(axis=1) | unknown)
    series = _series(rows)
    for row in np.flatnonzero(wrong).tolist():
        served_us = int(values.event_us[row])
        if served_us == events_us[row]:
            names = [name for name, no in zip(view.columns, differs[row], strict=True) if no]
            fault = f"other bits in {', '.join(names)}" if names else "known at another time"
        elif served_us < 0:
            fault = "not served"
        else:
            fault = f"served is that of {utc_from_us(served_us).isoformat()}"
        yield {
            "view": view.name,
            **dict(zip(SERIES, series[row], strict=True)),
            "event_time": utc_from_us(int(events_us[row])),
            "fault": fault,
        }
