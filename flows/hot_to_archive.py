"""Retention by contract: hot, compressed hot, lake, archive, gone; and what each tier costs.

Every step down is the tier's own and proves before it lets go: a day leaves hot by the loss ledger
(lake.ingest.hot_to_dropped), the lake for the archive likewise (flows.lake_to_archive), and the
archive by age alone. Results of quality leave hot by the lake's mark (flows.old_results).
Compression in hot is the server's, at the contract's age.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import psycopg

from flows import old_results
from flows.jobs import RETENTION
from flows.lake_to_archive import LakeToArchive, Moved
from flows.place import Place
from lake.archive.place import ArchivePlace, archive_of
from lake.archive.tier_sizes import (
    ALL,
    BUDGET,
    MODELLED,
    TierSize,
    bytes_by_tier,
    events_per_s,
    note_sizes,
    tier_sizes,
)
from lake.clock import Clock, utc_from_us
from lake.contracts.ages import LEAVING_DATASETS, RESULTS
from lake.cost.assumptions import Assumptions, read_assumptions
from lake.cost.model import GB, cost, price_gb_month
from lake.hot.alerts import clear_alert, raise_alert
from lake.hot.edition import ask
from lake.ingest.day_totals import ledger_totals
from lake.ingest.days_in_hot import due_days
from lake.ingest.hot_to_dropped import drop_due
from lake.journal.segment import bytes_of
from lake.lineage.destination import NAMESPACE as LINEAGE_NAMESPACE
from lake.lineage.job import lake
from lake.lineage.run import Teller
from lake.parts import ShowPart, nobody, within
from lake.steps import Steps
from lake.tables.catalog import open_catalog
from lake.tables.names import NAMESPACE
from lake.views.client import Client
from lake.warehouse import Warehouse

ALERT = "cost"

HOT_PART, LAKE_PART = 0.4, 0.9
"""How far a run is reckoned to be once hot, and once the lake, has let go of what is due."""


@dataclass(frozen=True, slots=True)
class Retained:
    """What moved or would move, what the tiers hold, and what that costs a month.

    modelled: what the last day's rate of events costs once every tier is full.
    """

    moved: Sequence[Moved]
    sizes: Sequence[TierSize]
    dollars: Mapping[str, float]
    events_per_s: float
    modelled: float
    budget: float

    @property
    def holds(self) -> bool:
        """Tell whether no proof failed."""
        return not any(each.failed for each in self.moved)

    @property
    def over(self) -> bool:
        """Tell whether the budget is not met."""
        return max(self.modelled, sum(self.dollars.values())) > self.budget

    def lines(self) -> list[str]:
        """Return it in words."""
        held = bytes_by_tier(self.sizes)
        stored = sum(self.dollars.values())
        return [
            *(each.line() for each in self.moved),
            *(f"{t:10} {n:>18,} bytes {self.dollars[t]:>10,.2f} $" for t, n in held.items()),
            f"stored for {stored:,.2f} $ a month; {self.events_per_s:,.0f} events/s of the last day"
            f" cost {self.modelled:,.0f} $ in the long run; budget {self.budget:,.0f} $",
        ]


def retention_of(place: Place, clock: Clock) -> HotToArchive:
    """Return the retention of a place, by its settings and its own prices."""
    settings = place.settings
    return HotToArchive(
        place.dsn,
        place.warehouse,
        archive_of(settings.home, settings.archive),
        clock,
        read_assumptions(settings.home),
        journal=settings.journal,
        namespace=place.lineage.namespace,
    )


class HotToArchive:
    """One lakehouse's retention; journal: the folder of the shards' journals, to be measured."""

    def __init__(
        self,
        dsn: str,
        warehouse: Warehouse,
        place: ArchivePlace,
        clock: Clock,
        given: Assumptions,
        *,
        journal: Path | None = None,
        steps: Steps | None = None,
        namespace: str = LINEAGE_NAMESPACE,
    ) -> None:
        self._dsn = dsn
        self._warehouse = warehouse
        self._clock = clock
        self._given = given
        self._journal = journal
        self._steps = steps
        self._teller = Teller(dsn, clock, namespace)
        self._archive = LakeToArchive(dsn, warehouse, place, clock, steps=steps)

    def plan(self) -> Retained:
        """Return what would go now and what the tiers hold; changes nothing."""
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            edition = ask(connection)
            moved = [
                Moved("hot", dataset, day, ledger_totals(connection, dataset, day)[0].rows, 0)
                for dataset in LEAVING_DATASETS
                for day in due_days(connection, dataset, self._clock, edition)
            ]
            if results := old_results.due(connection, self._clock, edition):
                moved.append(Moved("hot", RESULTS, self._today(), results, 0))
            moved += [
                Moved("lake", day.dataset, day.day, day.rows, day.bytes)
                for day in self._archive.due_in_lake()
            ]
            moved += [
                Moved("archive", file.dataset, file.day, file.content.rows, file.bytes)
                for file in self._archive.due_in_archive(connection)
            ]
            due = [_with_reason(each, "would go, once proven") for each in moved]
            return self._measured(connection, due)

    def run(self, show: ShowPart = nobody) -> Retained:
        """Move what is due, measure, note it; the same call again finds nothing to move.

        Told as lineage, with the snapshots that were written. show: is told how far it is.
        """
        with self._teller.run(RETENTION) as run:
            found = self._run(show)
            left = {each.dataset for each in found.moved if each.tier == "lake" and each.gone}
            with closing(open_catalog(self._dsn, self._warehouse)) as catalog:
                for dataset in sorted(left):
                    head = catalog.load_table((NAMESPACE, dataset)).metadata.current_snapshot_id
                    run.wrote(lake(dataset), head)
        return found

    def _run(self, show: ShowPart) -> Retained:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            with Client(self._dsn, self._warehouse) as client:
                moved = [
                    Moved(
                        "hot",
                        each.dataset,
                        each.day,
                        each.rows,
                        0,
                        each.dropped,
                        each.reason,
                        each.failed,
                    )
                    for each in drop_due(
                        connection,
                        client,
                        self._clock,
                        steps=self._steps,
                        show=within(show, 0, HOT_PART),
                    )
                ]
            with closing(open_catalog(self._dsn, self._warehouse)) as catalog:
                place = (connection, catalog, self._clock, ask(connection))
                if results := old_results.leave(*place):
                    moved.append(Moved("hot", RESULTS, self._today(), results, 0, True))
            moved += self._archive.run(within(show, HOT_PART, LAKE_PART))
            found = self._measured(connection, moved)
            self._note(connection, found)
        return found

    def _today(self) -> date:
        return utc_from_us(self._clock.now_us()).date()

    def _measured(self, connection: psycopg.Connection, moved: Sequence[Moved]) -> Retained:
        with closing(open_catalog(self._dsn, self._warehouse)) as catalog:
            sizes = tier_sizes(connection, catalog, self._journal_bytes())
        rate = events_per_s(connection, utc_from_us(self._clock.now_us()))
        held = bytes_by_tier(sizes)
        return Retained(
            moved,
            sizes,
            {tier: size / GB * price_gb_month(tier, self._given) for tier, size in held.items()},
            rate,
            cost(rate, self._given).total,
            self._given.value("budget_dollars_month"),
        )

    def _journal_bytes(self) -> int:
        return sum(map(bytes_of, self._journal.glob("shard-*"))) if self._journal else 0

    def _note(self, connection: psycopg.Connection, found: Retained) -> None:
        priced = [
            (each, each.bytes / GB * price_gb_month(each.tier, self._given)) for each in found.sizes
        ]
        rate = round(found.events_per_s)
        priced.append((TierSize(MODELLED, ALL, rate, 0), found.modelled))
        priced.append((TierSize(BUDGET, ALL, 0, 0), found.budget))
        note_sizes(connection, priced, utc_from_us(self._clock.now_us()))
        if found.over:
            fault = (
                f"{sum(found.dollars.values()):,.0f} $ a month stored,"
                f" {found.modelled:,.0f} $ modelled, over the budget of {found.budget:,.0f} $"
            )
            raise_alert(connection, self._clock, ALERT, fault, "see what helps: ticklake cost")
        else:
            clear_alert(connection, ALERT)


def document(found: Retained) -> dict[str, Any]:
    """Return it for JSON."""
    return {
        "moved": [{name: getattr(each, name) for name in each.__slots__} for each in found.moved],
        "tiers": [{name: getattr(each, name) for name in each.__slots__} for each in found.sizes],
        "dollars_month": dict(found.dollars),
        "events_per_second": found.events_per_s,
        "modelled_dollars_month": found.modelled,
        "budget_dollars_month": found.budget,
    }


def _with_reason(moved: Moved, reason: str) -> Moved:
    return Moved(moved.tier, moved.dataset, moved.day, moved.rows, moved.bytes, False, reason)
