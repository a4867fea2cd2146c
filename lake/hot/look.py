"""One look at the hot tier, for `up` and `status`: its edition, open alerts, the skew of slots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psycopg

from lake.contracts.contract import TICK_DATASETS
from lake.errors import Unavailable
from lake.hot.alerts import Alert, open_alerts
from lake.hot.edition import Edition, ask
from lake.hot.slots import skew, slot_rows
from lake.state import remedy

CONNECT_S_MAX = 5


@dataclass(frozen=True, slots=True)
class HotLook:
    """What the hot tier is and what is wrong with it.

    slots: dataset -> slot -> rows of its newest day; datasets whose days are not cut are left out.
    """

    edition: Edition
    alerts: Sequence[Alert]
    slots: Mapping[str, Mapping[str, int]]

    def document(self) -> dict[str, Any]:
        """Return it for JSON; a skew is the fullest slot's rows over the mean: 1 is even."""
        return {
            "edition": asdict(self.edition),
            "alerts": [asdict(each) for each in self.alerts],
            "slots": {
                dataset: {"skew": skew(rows), "rows": rows} for dataset, rows in self.slots.items()
            },
        }

    def lines(self) -> list[str]:
        """Return it for people."""
        skews = [f"{dataset} {skew(rows):.2f}" for dataset, rows in self.slots.items()]
        return [
            f"hot tier    {self.edition}",
            *([f"slot skew   {', '.join(skews)} (1 is even)"] if skews else []),
            *(
                f"ALERT       {each.thing}: {each.fault}: {each.remedy}"
                f" (since {each.raised_at:%Y-%m-%d %H:%M} UTC)"
                for each in self.alerts
            ),
        ]


def look(dsn: str) -> HotLook:
    """Return what a migrated hot tier says of itself; Unavailable when it can't be reached."""
    try:
        with psycopg.connect(dsn, connect_timeout=CONNECT_S_MAX) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            slots = {dataset: slot_rows(connection, dataset) for dataset in TICK_DATASETS}
            return HotLook(
                ask(connection),
                open_alerts(connection),
                {dataset: rows for dataset, rows in slots.items() if rows},
            )
    except psycopg.Error as error:
        fault = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Unavailable("hot tier", fault, remedy(fault, "is the server up?")) from error
