"""What the service knows of the lake and the hot tier: older bars and features, freshness, alerts.

All of it is read as the role `service`, which can write nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa

from feature_repo.trading.market import Instrument
from lake.client import Client, connect
from lake.database import with_options
from lake.errors import TicklakeError, Unavailable
from lake.hot.alerts import open_alerts
from lake.hot.promises import standings
from lake.roles import role_dsn
from lake.views.engine import quote
from serving.desk.said import Row
from serving.live.told import bar_rows, feature_rows

ROLE = "service"
FRESHNESS = "freshness"
CONNECT_S_MAX = 2
STATEMENT_MS_MAX = 2_000
BARS, FEATURES = "bars", "features_market"


class LakeHistory:
    """Rows of the lake; one query at a time. home: absolute path."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._client: Client | None = None

    def bars(
        self, instrument: Instrument, interval: str, before_us: int, limit: int
    ) -> Sequence[Row]:
        """Return bars of the lake; none where it has no table of them yet."""
        of_interval = f'AND "interval" = {quote(interval)}'
        rows = self._rows(BARS, instrument, before_us, of_interval, limit)
        return [] if rows is None else bar_rows(rows)

    def features(self, instrument: Instrument, before_us: int, limit: int) -> Sequence[Row]:
        """Return rows of features as the lake knows them now, the newest version of each."""
        newest = (
            "AND \"interval\" = '1m' QUALIFY row_number() OVER"
            " (PARTITION BY event_time ORDER BY set_version DESC, recorded_time DESC) = 1"
        )
        rows = self._rows(FEATURES, instrument, before_us, newest, limit)
        return [] if rows is None else feature_rows(rows)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._forget()

    def _rows(
        self, dataset: str, instrument: Instrument, before_us: int, more: str, limit: int
    ) -> pa.Table | None:
        names = zip(("ticker", "exchange", "market"), instrument, strict=True)
        where = " AND ".join(f"{name} = {quote(value)}" for name, value in names)
        query = (
            f"FROM (FROM lake.{dataset} WHERE {where}"
            f" AND event_time < make_timestamp({before_us})::TIMESTAMPTZ {more}"
            f" ORDER BY event_time DESC LIMIT {limit}) ORDER BY event_time"
        )
        with self._lock:
            try:
                if self._client is None:
                    self._client = connect(self._home, role=ROLE)
                self._client.refresh()
                snapshot = self._client.snapshots.get(dataset)
                if snapshot is None or snapshot.snapshot_id is None:
                    return None
                return self._client.arrow(query)
            except TicklakeError as error:
                self._forget()  # the next call begins anew
                raise Unavailable("the lake", str(error), "see: ticklake status") from error

    def _forget(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = None


class HotWatch:
    """Freshness and alerts of the hot tier, over a connection that is made again when it ends."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._connection: psycopg.Connection | None = None

    def alerts(self) -> Sequence[Row]:
        """Return open alerts, oldest first."""
        with self._lock:
            return [
                {
                    "thing": each.thing,
                    "fault": each.fault,
                    "remedy": each.remedy,
                    "raised_us": int(each.raised_at.timestamp() * 1e6),
                }
                for each in self._asked(open_alerts)
            ]

    def freshness(self) -> Sequence[Row]:
        """Return each promise of freshness as the lake's own watch measured it last."""
        with self._lock:
            found = [each for each in self._asked(standings) if each.measured.promise == FRESHNESS]
        return [
            {
                "dataset": each.measured.thing,
                "age_s": each.measured.value,
                "promise_s": each.measured.bound,
                "checked_us": int(each.checked_at.timestamp() * 1e6),
            }
            for each in found
        ]

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._forget()

    def _asked(self, ask: Any) -> Any:
        """Return what is asked of a connection; Unavailable where the server is away."""
        try:
            if self._connection is None:
                dsn = with_options(role_dsn(self._home, ROLE), statement_timeout=STATEMENT_MS_MAX)
                self._connection = psycopg.connect(
                    dsn, autocommit=True, connect_timeout=CONNECT_S_MAX
                )
            return ask(self._connection)
        except psycopg.Error as error:
            self._forget()
            fault = " ".join(str(error).split())
            raise Unavailable("postgres", fault, "start it: ticklake up") from error

    def _forget(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
        self._connection = None
