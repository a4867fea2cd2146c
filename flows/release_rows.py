"""The rows of a release that a backtest reads, by either engine; nothing else is read from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flows.backtest_plan import Plan
from flows.held_spans import Span, span_of_ends
from lake.client import connect
from lake.clock import utc_from_us
from lake.errors import BadInput, Unavailable
from lake.queries.dialect import render
from lake.queries.query import find
from lake.queries.value import Value
from lake.releases.release import parts_of
from lake.releases.trino_release import connect_release
from lake.roles import role_dsn
from lake.views.client import Client

READER = "analyst"
FOLDER = "backtests"
"""Of warehouse_sql: the statements that are asked here."""

MADE_BY = b"ticklake.made_by"
"""Metadata of a file of predictions: models and features that they are of, as JSON."""

ARROW_TYPES = {
    "text": pa.string(),
    "time": pa.timestamp("us", "UTC"),
    "decimal": pa.decimal128(28, 10),
}
"""Kind of a column, as its statement says it -> what both engines' rows are made."""


@dataclass(frozen=True, slots=True)
class ReleaseRows:
    """read: asks a statement. snapshots: dataset -> Iceberg snapshot of the release."""

    engine: str
    read: Callable[[str], pa.Table]
    snapshots: Mapping[str, int]

    def bars(self, plan: Plan, ticker: str) -> pa.Table:
        """Return a ticker's bars; of a run over ticks they may be none.

        Unavailable where the release has none in the span.
        """
        ticks = plan.feed == "ticks"
        return self._ask("bars", plan, ticker, may_be_none=ticks, width=plan.interval)

    def quotes(self, plan: Plan, ticker: str) -> pa.Table:
        """Return a ticker's quotes, as they were known; Unavailable where there are none."""
        return self._ask("quotes", plan, ticker)

    def trades(self, plan: Plan, ticker: str) -> pa.Table:
        """Return a ticker's trades, as they were known; they may be none."""
        return self._ask("trades", plan, ticker, may_be_none=True)

    def fundings(self, plan: Plan, ticker: str) -> pa.Table:
        """Return a ticker's funding rates; Unavailable where there are none."""
        return self._ask("fundings", plan, ticker)

    def held(self, plan: Plan) -> Span | None:
        """Return from when to when the release has what the plan trades on, of whatever ticker."""
        values: dict[str, Value] = {"exchange": plan.exchange, "market": plan.market}
        name, width_us = "held_quotes", 0
        if plan.feed == "bars":
            name, width_us = "held_bars", plan.width_us
            values["width"] = plan.interval
        found = self.read(render(find(name, FOLDER).source, values, self.engine))
        return span_of_ends(found, width_us)

    def _ask(
        self, name: str, plan: Plan, ticker: str, *, may_be_none: bool = False, **more: Value
    ) -> pa.Table:
        query = find(name, FOLDER)
        values: dict[str, Value] = {
            "ticker": ticker,
            "exchange": plan.exchange,
            "market": plan.market,
            "since": utc_from_us(plan.first_us),
            "until": utc_from_us(plan.last_us),
            **more,
        }
        schema = pa.schema([(column.name, ARROW_TYPES[column.kind]) for column in query.columns])
        rows = self.read(render(query.source, values, self.engine)).cast(schema)
        if not rows.num_rows and not may_be_none:
            width = f" of {plan.interval}" if name == "bars" else ""
            raise Unavailable(
                f"release {plan.release}",
                f"has no {name}{width} of {ticker} from {values['since']} to {values['until']}",
                "choose another span; `ticklake sql --release` shows what it has",
            )
        return rows


@contextmanager
def open_rows(home: Path, release: str, engine: str = "duckdb") -> Iterator[ReleaseRows]:
    """Open a release of a home; WrongUse where there is none of that name."""
    with psycopg.connect(role_dsn(home, READER)) as connection:
        parts = parts_of(connection, release)
    snapshots = {part.dataset: part.snapshot_id for part in parts}
    if engine == "trino":
        with connect_release(home, READER, release) as session:
            yield ReleaseRows(engine, session.arrow, snapshots)
        return
    with connect(home, role=READER, release=release) as client:
        yield rows_of(client, snapshots)


def rows_of(client: Client, snapshots: Mapping[str, int]) -> ReleaseRows:
    """Return what a client of a release reads."""
    return ReleaseRows("duckdb", client.arrow, snapshots)


def written_by(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return whose predictions a file has: models and sets of features, name -> version.

    Empty where whoever wrote it did not say; BadInput where it says something else.
    """
    try:
        said = json.loads((pq.read_schema(path).metadata or {}).get(MADE_BY, b"{}"))
        models, features = (dict(said.get(each, {})) for each in ("models", "features"))
    except (OSError, ValueError, TypeError, AttributeError, pa.ArrowException) as error:
        raise BadInput(str(path), f"does not say whose it is ({error})", "write it anew") from error
    return models, features


def predictions(path: Path) -> pa.Table:
    """Return a file's predictions, by the time at which they were known.

    Columns: ticker, exchange, market, event_time, available_time, prediction. BadInput for
    another file, or a prediction known before the time that it is of.
    """
    names = ["ticker", "exchange", "market", "event_time", "available_time", "prediction"]
    try:
        rows = pq.read_table(path, columns=names)
        times = pa.timestamp("us", "UTC")
        for name in ("event_time", "available_time"):
            rows = rows.set_column(rows.schema.get_field_index(name), name, rows[name].cast(times))
    except (OSError, KeyError, pa.ArrowException) as error:
        fault = (str(error).strip().splitlines() or [type(error).__name__])[0]
        remedy = f"a Parquet file with {', '.join(names)}"
        raise BadInput(str(path), fault, remedy) from error
    if pc.any(pc.less(rows["available_time"], rows["event_time"])).as_py():
        fault = "has a prediction known before the time that it is of"
        raise BadInput(str(path), fault, "correct its available_time")
    return rows.sort_by([(name, "ascending") for name in ("available_time", *names[:4])])
