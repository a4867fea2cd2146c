"""Quality scores of datasets, where something writes quality_results."""

from __future__ import annotations

import psycopg


def quality_scores(connection: psycopg.Connection) -> dict[str, float]:
    """Return dataset -> the part of its rules that held at their newest run, 0 to 1.

    Warnings count for nothing: a crash does not make data worse. Empty where there is no table
    market.quality_results yet.
    """
    there = connection.execute("SELECT to_regclass('market.quality_results')").fetchone()
    if there is None or there[0] is None:
        return {}
    return dict(connection.execute(_SCORES).fetchall())


_SCORES = """
SELECT dataset, avg(held::int)::double precision FROM (
    SELECT DISTINCT ON (dataset, rule) dataset, rule, status = 'passed' AS held
    FROM market.quality_results WHERE severity = 'error' ORDER BY dataset, rule, checked_time DESC
) AS newest GROUP BY dataset
"""
