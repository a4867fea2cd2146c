"""How much of the last while each feed was heard without a gap, from the book of gaps."""

from __future__ import annotations

from datetime import datetime, timedelta

import psycopg

WINDOW = timedelta(hours=1)
BATCHES = 500
"""Newest batches of a shard in which feeds are looked for."""


def complete_shares(connection: psycopg.Connection, now: datetime) -> dict[str, float]:
    """Return feed -> share of the last hour, 0 to 1, that lies in none of its gaps.

    A gap that was refilled with trades counts no more; time in which another connection of the
    feed had no gap does not count. Feeds are those of the newest batches, and those with a gap.
    """
    row = {"since": now - WINDOW, "now": now, "batches": BATCHES}
    return {feed: 1.0 - lost_s / WINDOW.total_seconds() for feed, lost_s in
            connection.execute(_LOST, row)}  # fmt: skip


_LOST = """
WITH gaps AS (
    SELECT DISTINCT ON (shard, gap_id) feed, connection, gap_from, gap_to, filled
    FROM market.feed_gaps ORDER BY shard, gap_id, seq DESC
), holes AS (
    SELECT feed, connection, range_agg(tstzrange(greatest(gap_from, %(since)s),
        least(coalesce(gap_to, %(now)s), %(now)s))) AS lost
    FROM gaps WHERE gap_from < %(now)s AND coalesce(gap_to, %(now)s) > %(since)s
        AND 'crypto_trades' <> ALL (string_to_array(coalesce(filled, ''), ','))
    GROUP BY feed, connection
), known AS (
    SELECT feed, count(DISTINCT connection) AS connections FROM gaps GROUP BY feed
), common AS (
    SELECT feed, range_intersect_agg(lost) AS lost FROM holes JOIN known USING (feed)
    GROUP BY feed, connections HAVING count(*) = connections
), feeds AS (
    SELECT DISTINCT b.feed FROM market.shards AS s, LATERAL (
        SELECT feed, committed_time FROM market.ingest_batches AS i WHERE i.shard = s.shard
        ORDER BY i.seq DESC LIMIT %(batches)s) AS b
    WHERE b.committed_time > %(since)s
    UNION SELECT feed FROM holes
)
SELECT feed, coalesce((SELECT sum(extract(epoch FROM upper(r) - lower(r)))
    FROM common AS c, unnest(c.lost) AS r WHERE c.feed = feeds.feed), 0)::double precision
FROM feeds ORDER BY feed
"""
