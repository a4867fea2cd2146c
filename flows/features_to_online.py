"""The lake's newest features to the online store: one value a series and view, as Feast has it.

A run reads the newest row of every series that is not older than its view's ttl, and writes it
over what is not newer. It keeps no place between runs: whoever kills it, or empties the store,
loses nothing that the next run does not write. It needs no Prefect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from feature_repo.store.served import Mark, Served
from feature_repo.store.views import SERIES, VIEWS, View
from flows.jobs import ONLINE
from lake.clock import Clock, SystemClock
from lake.closes import Closes
from lake.hot.turn import TURN_S_MAX, turn
from lake.lineage.destination import NAMESPACE
from lake.lineage.job import online
from lake.lineage.run import Run, Teller
from lake.parts import ShowPart, by_parts, nobody
from lake.steps import Steps
from lake.views.client import Client
from lake.warehouse import Warehouse

LEASE = "online_features"
SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Step:
    """What one run did: values written, and those that were newer there, over all views."""

    written: int
    newer: int
    series: int

    def line(self) -> str:
        """Return it in words."""
        left = f", {self.newer:,} newer there already" if self.newer else ""
        return f"{self.written:,} rows of features served, of {self.series:,} series{left}"


class FeaturesToOnline(Closes):
    """Writes one lakehouse's online store; one thread uses it at a time. A context manager."""

    def __init__(
        self,
        dsn: str,
        warehouse: Warehouse,
        url: str,
        *,
        clock: Clock | None = None,
        steps: Steps | None = None,
        views: Sequence[View] = VIEWS,
        wait_s: float = TURN_S_MAX,
        namespace: str = NAMESPACE,
    ) -> None:
        self._dsn = dsn
        self._clock = clock or SystemClock()
        self._steps = steps or Steps()
        self._views = views
        self._wait_s = wait_s
        self._teller = Teller(dsn, self._clock, namespace)
        self._served = Served(url)
        self._client = Client(dsn, warehouse)

    def close(self) -> None:
        """Close both connections."""
        self._served.close()
        self._client.close()

    def step(self, show: ShowPart = nobody) -> Step:
        """Write every view once; Unavailable when a server is away or another run is at work.

        show: is told how far it is.
        """
        run = Run(self._teller, ONLINE)  # schemas and columns stand in its START
        with turn(self._dsn, LEASE, wait_s=self._wait_s), run.ends(brief=True):
            written = newer = series = 0
            for view in by_parts(self._views, show):
                now_us = self._clock.now_us()
                rows = newest_rows(self._client, view, now_us)
                put = self._served.write(rows, view, now_us)
                _note(run, view, put.written)
                self._steps.at("online.written")
                self._served.set_mark(view, Mark(now_us, rows.num_rows))
                written, newer = written + put.written, newer + put.newer
                series = max(series, rows.num_rows)
            return Step(written, newer, series)


def _note(run: Run, view: View, rows: int) -> None:
    if not rows:
        return
    if not run.told:
        run.tell("START")
    run.wrote(online(view.of.dataset), None, rows)


def newest_rows(
    client: Client, view: View, now_us: int, *, recorded_us: int | None = None
) -> pa.Table:
    """Return SERIES, event_time, available_time and features of each series' newest row.

    Of what is known at now_us; none older than the view's ttl; of a bar's versions the one known
    last. recorded_us: of the rows that we had written by then.
    """
    client.refresh()
    dataset = view.of.dataset
    if dataset not in client.snapshots:
        names = [*SERIES, "event_time", "available_time", *view.columns]
        types = [pa.string()] * len(SERIES) + [pa.timestamp("us", tz="UTC")] * 2
        types += [pa.float64()] * len(view.columns)
        return pa.table([pa.array([], each) for each in types], names=names)
    keys = ", ".join(f'"{each}"' for each in SERIES)
    columns = ", ".join(f'"{each}"' for each in view.columns)
    since_us = now_us - int(view.ttl.total_seconds()) * SECOND_US
    upto_us = now_us if recorded_us is None else recorded_us
    within = (
        f"set_version = {view.of.version} AND event_time >= make_timestamptz({since_us})"
        f" AND event_time <= make_timestamptz({now_us})"
        f" AND available_time <= make_timestamptz({now_us})"
        f" AND recorded_time <= make_timestamptz({upto_us})"
    )
    return client.arrow(
        f"WITH last AS (SELECT {keys}, max(event_time) AS event_time FROM {dataset}"
        f" WHERE {within} GROUP BY ALL)"
        f" SELECT {keys}, event_time, available_time, {columns} FROM {dataset} JOIN last"
        f" USING ({keys}, event_time) WHERE {within}"
        f" QUALIFY row_number() OVER (PARTITION BY {keys}"
        f" ORDER BY available_time DESC, recorded_time DESC) = 1 ORDER BY {keys}"
    )
