"""The book of files that the lake has let go of and that are not yet removed."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from lake.tables.upkeep import REMOVE_AFTER_S

REMOVED_AT_ONCE_MAX = 500


class RemovalBook:
    """Rows of market.lake_removals; a crash between a commit and its entry leaves an orphan file,
    which `orphans` finds.
    """

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def freed(self, dataset: str, paths: Sequence[str]) -> None:
        """Note that the newest snapshot no longer needs these files.

        A staged file that still waits for its commit is none of them.
        """
        if paths:
            self._connection.execute(
                "INSERT INTO market.lake_removals (dataset, path)"
                " SELECT %s, path FROM unnest(%s::text[]) AS path WHERE NOT EXISTS ("
                "  SELECT FROM market.staged_files AS s WHERE s.path = path.path"
                "  AND s.in_lake_time IS NULL) ON CONFLICT (path) DO NOTHING",
                (dataset, list(paths)),
            )

    def due(self, dataset: str, grace_s: float = REMOVE_AFTER_S) -> list[str]:
        """Return files whose grace and recovery window have passed, oldest first.

        None of them waits for its commit: one may have been staged since it was booked.
        """
        rows = self._connection.execute(
            "SELECT path FROM market.lake_removals AS r WHERE dataset = %s AND NOT EXISTS ("
            "SELECT FROM market.staged_files AS s WHERE s.path = r.path AND s.in_lake_time IS NULL)"
            " AND freed_at < now() - greatest(make_interval(secs => %s), market.recovery_window())"
            " ORDER BY freed_at LIMIT %s",
            (dataset, grace_s, REMOVED_AT_ONCE_MAX),
        ).fetchall()
        return [path for (path,) in rows]

    def waiting(self, dataset: str) -> set[str]:
        """Return every file of a dataset that waits for its removal."""
        rows = self._connection.execute(
            "SELECT path FROM market.lake_removals WHERE dataset = %s", (dataset,)
        )
        return {path for (path,) in rows}

    def removed(self, paths: Sequence[str]) -> None:
        """Strike files out that are gone."""
        self._connection.execute(
            "DELETE FROM market.lake_removals WHERE path = ANY(%s)", (list(paths),)
        )
