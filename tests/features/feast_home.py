"""A home whose lake has features, and whose Redis is a database of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa

from feature_repo.store.served import Served, connect
from feature_repo.store.views import MARKET_V1, PRICE_MOMENTUM
from flows.features_to_online import FeaturesToOnline, Step
from flows.online_to_quality import Answers, OnlineToQuality, Run
from lake.clock import ManualClock
from lake.state import write_state
from lake.steps import Steps
from tests.bars.trading import EPOCH
from tests.features.house import NOW, US, House

OLD = tuple(replace(each, ttl=timedelta(days=100)) for each in (MARKET_V1, PRICE_MOMENTUM))
"""The views, for bars of months ago."""

BTC = ("X:BTCUSD", "sim", "spot", "1m")
ETH = ("X:ETHUSD", "sim", "spot", "1h")


class FeastHome(House):
    """The same with its online store; database: number of one that no other test has."""

    def settle(self, home: Path, valkey_url: str, database: int) -> None:
        self.home = home
        self.url = f"{valkey_url}/{database}"
        connect(self.url).flushdb()
        write_state(home, {"postgres": {"dsn": self.dsn}, "valkey": {"url": self.url}})

    def serve(self, after: timedelta = timedelta(0), steps: Steps | None = None) -> Step:
        clock = ManualClock((NOW + after - EPOCH) // US)
        made = FeaturesToOnline(self.dsn, self.place, self.url, clock=clock, views=OLD, steps=steps)
        with made as writer:
            return writer.step()

    def audit(
        self,
        after: timedelta = timedelta(minutes=1),
        sample_max: int = 1_000,
        others: Mapping[str, Answers] | None = None,
    ) -> Run:
        clock = ManualClock((NOW + after - EPOCH) // US)
        made = OnlineToQuality(
            self.dsn,
            self.place,
            self.url,
            clock=clock,
            views=OLD,
            others=others,
            sample_max=sample_max,
        )
        with made as audit:
            return audit.step()

    def served(self, view: int = 0) -> pa.Table:
        with Served(self.url) as served:
            return served.read([BTC, ETH], OLD[view]).table()
