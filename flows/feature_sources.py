"""Of which bars a set is made, what stands beside them, and which of them a change concerns.

Spans are series with first_us and last_us: the starts of the first and the last bar concerned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.compute import ends_of
from feature_repo.feature_set import FeatureSet
from feature_repo.scores import REACH_US, with_scores
from flows.arrived import arrived
from lake.bars.bars_table import Marks
from lake.bars.kernel import WIDTHS_US
from lake.features.changed_bars import BARS, LEFT_OUT
from lake.features.common_bars import REFERENCE_SQL, common_bars
from lake.features.pairs import PAIR
from lake.views.union_view import last_seq

SCORES = "market_sentiment"
SERIES_LIST = 'ticker, exchange, market, "interval"'
ALL_TIME_US = 253_402_300_799_000_000
"""The end of the year 9999: no score waits."""


@dataclass(frozen=True, slots=True)
class BarsAlone:
    """Bars as the table has them."""

    feature_set: FeatureSet

    def relation(self, where: str) -> str:
        """Select the bars that meet a condition, once more written for each table read."""
        return f"FROM lake.{BARS} WHERE {where}"

    def scores_upto(self, shown: Mapping[int, int], held: Mapping[int, int]) -> Mapping[int, int]:
        """Return shard -> last frame whose scores are to be seen now; none, of bars alone.

        shown: shard -> last frame that the client's views show.
        """
        return {}

    def concerned(
        self,
        connection: duckdb.DuckDBPyConnection,
        spans: pa.Table,
        held: Mapping[int, int],
        upto: Mapping[int, int],
    ) -> pa.Table:
        """Return the spans that a change of these bars, and of scores since, concerns."""
        return spans

    def beside(self, connection: duckdb.DuckDBPyConnection, bars: pa.Table) -> pa.Table:
        """Return bars of the relation with what the set takes beside them."""
        return bars


class WithReference(BarsAlone):
    """Bars that the reference has too: a change of its bars concerns every series beside it."""

    def relation(self, where: str) -> str:
        """Select the common bars."""
        return common_bars(f"(FROM lake.{BARS} WHERE {where})")

    def concerned(
        self,
        connection: duckdb.DuckDBPyConnection,
        spans: pa.Table,
        held: Mapping[int, int],
        upto: Mapping[int, int],
    ) -> pa.Table:
        """Return the spans of series that have a reference, the reference's own spread to them."""
        if not spans.num_rows:
            return spans
        connection.register("moved", spans)
        between = _between(spans)
        found = connection.execute(
            f"""
            WITH known AS (SELECT DISTINCT {SERIES_LIST} FROM lake.{BARS} WHERE {between}),
            pairs AS (
                SELECT *, {REFERENCE_SQL.format("ticker")} AS reference FROM known
                WHERE ticker <> reference)
            SELECT {SERIES_LIST}, min(first_us) AS first_us, max(last_us) AS last_us FROM (
                SELECT m.* FROM moved AS m WHERE EXISTS (
                    FROM known AS k WHERE k.exchange = m.exchange AND k.market = m.market
                        AND k."interval" = m."interval" AND k.ticker <> m.ticker
                        AND k.ticker = {REFERENCE_SQL.format("m.ticker")})
                UNION ALL
                SELECT p.ticker, p.exchange, p.market, p."interval", m.first_us, m.last_us
                FROM moved AS m JOIN pairs AS p ON p.reference = m.ticker
                    AND p.exchange = m.exchange AND p.market = m.market
                    AND p."interval" = m."interval")
            GROUP BY ALL ORDER BY "interval", ticker, exchange, market
            """
        )
        return found.to_arrow_table()


class WithScores(BarsAlone):
    """Bars with their asset's scores: one that is new concerns the bars of the day after it."""

    def scores_upto(self, shown: Mapping[int, int], held: Mapping[int, int]) -> Mapping[int, int]:
        """Return shard -> last frame to see now."""
        return {**held, **shown}

    def concerned(
        self,
        connection: duckdb.DuckDBPyConnection,
        spans: pa.Table,
        held: Mapping[int, int],
        upto: Mapping[int, int],
    ) -> pa.Table:
        """Return the spans, and those of scores of frames after `held`.

        A score that is its asset's first by now lets windows be whole that were not: those that
        end within a day of what was the first.
        """
        scored = connection.execute(_SCORED.format(
            new=arrived(SCORES, Marks(held, ALL_TIME_US), Marks(upto, ALL_TIME_US)),
            old=_seen(held),
            reach=REACH_US,
        )).to_arrow_table()  # fmt: skip
        if not scored.num_rows:
            return spans
        connection.register("moved", spans)
        connection.register("scored", scored)
        widths = " ".join(f"WHEN '{name}' THEN {width}" for name, width in WIDTHS_US.items())
        found = connection.execute(
            f"""
            WITH known AS (
                SELECT DISTINCT {SERIES_LIST}, regexp_extract(ticker, '{PAIR}', 1) AS asset,
                    CASE "interval" {widths} END AS width_us
                FROM lake.{BARS} WHERE {_between(scored, max(WIDTHS_US.values()))})
            SELECT {SERIES_LIST}, min(first_us) AS first_us, max(last_us) AS last_us FROM (
                SELECT {SERIES_LIST}, first_us, last_us FROM moved
                UNION ALL
                SELECT {SERIES_LIST}, first_us - width_us, last_us - width_us
                FROM known JOIN scored USING (asset))
            GROUP BY ALL ORDER BY "interval", ticker, exchange, market
            """
        )
        return found.to_arrow_table()

    def beside(self, connection: duckdb.DuckDBPyConnection, bars: pa.Table) -> pa.Table:
        """Return the bars with their scores' sums; those before an asset's first are left out."""
        ends = ends_of(bars)
        first, last = (int(ends.min()), int(ends.max())) if len(ends) else (0, 0)
        scores = connection.execute(_SCORES.format(since=first - REACH_US, until=last))
        return with_scores(bars, scores.to_arrow_table())


SOURCES = {"market": BarsAlone, "sentiment": WithScores, "cross_asset": WithReference}
"""How the sets that are made of bars are."""


def _between(spans: pa.Table, before_us: int = 0) -> str:
    first, last = pc.min(spans["first_us"]).as_py(), pc.max(spans["last_us"]).as_py()
    return (
        f"\"interval\" <> '{LEFT_OUT}' AND event_time >= from_us({first - before_us})"
        f" AND event_time <= from_us({last})"
    )


def _seen(held: Mapping[int, int]) -> str:
    """Select the scores of frames up to these."""
    there = [f"shard = {shard} AND seq <= {last_seq(frame)}" for shard, frame in held.items()]
    return f"FROM {SCORES} WHERE {' OR '.join(there) or 'false'}"


_SCORED = """
WITH new AS (SELECT asset, epoch_us(event_time) AS at_us FROM ({new})),
spans AS (SELECT asset, min(at_us) AS first_us, max(at_us) AS last_us FROM new GROUP BY asset),
old AS (SELECT asset, min(epoch_us(event_time)) AS old_us FROM ({old}) SEMI JOIN spans USING (asset)
    GROUP BY asset)
SELECT asset, first_us,
    greatest(last_us, CASE WHEN first_us < old_us THEN old_us ELSE last_us END) + {reach} AS last_us
FROM spans LEFT JOIN old USING (asset)
"""

_SCORES = f"""
SELECT asset, event_time, received_time, sentiment_score FROM {SCORES}
WHERE event_time > from_us({{since}}) AND event_time <= from_us({{until}})
UNION ALL
SELECT asset, min(event_time), arg_min(received_time, event_time),
    arg_min(sentiment_score, event_time)
FROM {SCORES} WHERE event_time <= from_us({{since}}) GROUP BY asset
"""
