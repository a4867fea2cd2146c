"""One look at new rows: every rule that can be asked of them, and the rows at fault.

All of it is SQL over temporary tables of one DuckDB connection, named q_*; a row of data never
becomes a Python object, but for the few that are named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from lake.bars.kernel import MINUTE_US
from lake.contracts.contract import Contract, load
from lake.quality.anomaly import AnomalyModel, anomaly_rule
from lake.quality.contract_rules import (
    OnceRule,
    RowRule,
    once_rules,
    patterns_sql,
    row_rules,
)
from lake.quality.market_rules import (
    INTERVALS,
    MarketRule,
    bar_rules,
    published_rule,
    quote_rules,
    series_sql,
    trade_rules,
)
from lake.quality.rule import ROWS_NAMED_MAX, Result

Judge = Callable[[Contract, pa.Table], Mapping[str, bool]]
"""Tell of each rule of a contract, by name, whether the patterns of a batch keep it."""

NEW, SERIES, MINUTES, FAULTS = "q_new", "q_series", "q_minutes", "q_faults"
TRADED = "q_traded"


@dataclass(frozen=True, slots=True)
class Window:
    """What is to be looked at of a dataset: a select of its rows."""

    dataset: str
    select: str


class Look:
    """Looks with one connection, which knows the kernel's macros and is used by nobody else."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        judge: Judge,
        models: Sequence[AnomalyModel] = (),
    ) -> None:
        self._connection = connection
        self._judge = judge
        self._models = models
        self._table(TRADED, _minutes_of("crypto_trades WHERE false"))

    def results(self, window: Window) -> list[Result]:
        """Return what every rule of a dataset says of a window; nothing where it has no row."""
        self._table(NEW, window.select)
        contract = load(window.dataset)
        time = contract.partition_column or contract.ledger_time
        bounds = f"min(epoch_us({time})), max(epoch_us({time}))" if time else "NULL, NULL"
        checked, first, last = self._one(f"SELECT count(*), {bounds} FROM {NEW}")
        if not checked:
            return []
        if window.dataset == "crypto_trades":
            self._table(TRADED, _minutes_of(NEW))
        found = list(self._contract_results(contract, int(checked)))
        for rule in self._market_rules(window.dataset, first, last):
            rows = self._one(f"SELECT count(*) FROM {rule.checked}")[0]
            found.append(self._market_result(rule, int(rows)))
        return [
            Result(each.rule, each.checked, each.failed, each.rows, first, last) for each in found
        ]

    def touched(self) -> str:
        """Select the keys of the minutes that the trades looked at lie in: their bars are new."""
        return f"SELECT ticker, exchange, market, event_time FROM {TRADED}"

    def market_result(self, rule: MarketRule) -> Result:
        """Return what one rule says, outside of a window."""
        return self._market_result(rule, int(self._one(f"SELECT count(*) FROM {rule.checked}")[0]))

    def _contract_results(self, contract: Contract, checked: int) -> Iterator[Result]:
        again = {each.rule.name: self._again(contract, each) for each in once_rules(contract)}
        doubled = [(name, fault or "false") for name, fault in again.items()]
        self._table("q_patterns", patterns_sql(contract, NEW, doubled))
        patterns = self._connection.execute("FROM q_patterns").to_arrow_table()
        kept = self._judge(contract, patterns)
        for each in row_rules(contract):
            if kept[each.rule.name]:
                yield Result(each.rule, checked, 0)
            else:
                yield self._failed(contract, each, checked)
        for once in once_rules(contract):
            if kept[once.rule.name]:
                yield Result(once.rule, checked, 0)
            else:
                fault = RowRule(once.rule, again[once.rule.name] or "false")
                yield self._failed(contract, fault, checked)

    def _again(self, contract: Contract, once: OnceRule) -> str:
        """Return the condition of new rows whose key comes again, here or stored; "" for none."""
        time = contract.partition_column
        relation = NEW
        if time:
            first, last = self._one(
                f"SELECT min(epoch_us({time})), max(epoch_us({time})) FROM {NEW}"
            )
            relation = (
                f"(FROM {contract.name} WHERE {time} >= from_us({first})"
                f" AND {time} <= from_us({last}))"
            )
        name = f"q_again_{once.rule.name}"
        self._table(
            name,
            f"SELECT {once.by} FROM {relation} WHERE {once.where}"
            f" GROUP BY {once.by} HAVING count(*) > 1",
        )
        if not self._one(f"SELECT count(*) FROM {name}")[0]:
            return ""
        return f"({once.where}) AND ({once.by}) IN (SELECT ({once.by}) FROM {name})"

    def _failed(self, contract: Contract, each: RowRule, checked: int) -> Result:
        shown = ", ".join(f'"{c.name}"' for c in contract.columns if c.type != "binary")
        return self._counted(each, checked, f"SELECT {shown} FROM {NEW} WHERE {each.fault}")

    def _counted(self, each: RowRule | MarketRule, checked: int, select: str) -> Result:
        self._table(FAULTS, select)
        failed = int(self._one(f"SELECT count(*) FROM {FAULTS}")[0])
        rows = self._connection.execute(f"FROM {FAULTS} ORDER BY ALL LIMIT {ROWS_NAMED_MAX}")
        return Result(each.rule, checked, failed, rows.to_arrow_table().to_pylist())

    def _market_result(self, rule: MarketRule, checked: int) -> Result:
        return self._counted(rule, checked, rule.select)

    def _market_rules(self, dataset: str, first_us: int, last_us: int) -> list[MarketRule]:
        if dataset == "crypto_trades":
            return trade_rules(NEW, dataset, first_us)
        if dataset == "crypto_quotes":
            return quote_rules(NEW)
        if dataset == "bars":
            return self._bar_rules(first_us, last_us)
        return []

    def _bar_rules(self, first_us: int, last_us: int) -> list[MarketRule]:
        spans = self._connection.execute(
            'SELECT "interval", min(epoch_us(event_time)), max(epoch_us(event_time))'
            f' FROM {NEW} WHERE "interval" IN {INTERVALS} GROUP BY ALL'
        ).fetchall()
        self._table(SERIES, series_sql(NEW, "bars", {name: (a, b) for name, a, b in spans}))
        self._table(
            MINUTES,
            "SELECT DISTINCT ticker, venue_of(exchange) AS venue, market, event_time"
            f" FROM {NEW} WHERE \"interval\" = '1m' AND source = 'trades'",
        )
        rules = bar_rules(SERIES, NEW)
        rules.append(published_rule(MINUTES, "bars", "crypto_aggregates", first_us, last_us))
        rules += [anomaly_rule(model, SERIES, NEW) for model in self._models]
        return rules

    def _table(self, name: str, select: str) -> None:
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {select}")

    def _one(self, query: str) -> tuple[Any, ...]:
        row = self._connection.execute(query).fetchone()
        assert row is not None
        return row


def _minutes_of(trades: str) -> str:
    return (
        "SELECT DISTINCT ticker, exchange, market,"
        f" from_us(bucket_us(event_time, {MINUTE_US})) AS event_time FROM {trades}"
    )
