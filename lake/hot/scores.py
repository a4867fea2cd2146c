"""Quality scores of datasets, where something writes quality_results."""

from __future__ import annotations

import psycopg

RULES = """
rules AS (
    (SELECT dataset, rule FROM market.quality_results ORDER BY dataset, rule LIMIT 1)
    UNION ALL
    SELECT next.dataset, next.rule FROM rules AS r, LATERAL (
        SELECT dataset, rule FROM market.quality_results
        WHERE (dataset, rule) > (r.dataset, r.rule) ORDER BY dataset, rule LIMIT 1) AS next
)
"""
"""After WITH RECURSIVE: each rule that was ever asked, by a step of the index a rule, however many
results there are of it."""


def quality_scores(connection: psycopg.Connection) -> dict[str, float]:
    """Return dataset -> the part of its rules that held at their newest run, 0 to 1.

    Warnings count for nothing: a crash does not make data worse. Empty where there is no table
    market.quality_results yet. Costs as much as there are rules: the watch asks twice a minute.
    """
    there = connection.execute("SELECT to_regclass('market.quality_results')").fetchone()
    if there is None or there[0] is None:
        return {}
    return dict(connection.execute(_SCORES.encode()).fetchall())


_SCORES = f"""
WITH RECURSIVE {RULES}
SELECT dataset, avg((status = 'passed')::int)::double precision FROM rules, LATERAL (
    SELECT severity, status FROM market.quality_results AS q
    WHERE (q.dataset, q.rule) = (rules.dataset, rules.rule) ORDER BY run_id DESC LIMIT 1
) AS newest WHERE severity = 'error' GROUP BY dataset
"""
