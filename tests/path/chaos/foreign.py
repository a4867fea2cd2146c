"""Others at the tables: another engine, or an operator with a console; they name no epoch."""

from __future__ import annotations

from collections.abc import Mapping

from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from lake.tables.names import EPOCH, THROUGH
from tests.path.chaos.place import Place


class Foreign:
    """What others do to tables; what they tagged must be read again unchanged."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._catalog = place.catalog()
        self._floors: dict[str, dict[int, int]] = {}
        self._tags: dict[tuple[str, str], list[tuple[int, int]]] = {}

    def act(self, what: str, dataset: str, n: int) -> bool:
        """Do one thing to a table, if it is there and has something to do it to."""
        name = ("market", dataset)
        if not self._catalog.table_exists(name):
            return False
        table = self._catalog.load_table(name)
        if what == "properties":
            with table.transaction() as transaction:
                transaction.set_properties({"comment": f"seen {n}"})
            return True
        head = table.current_snapshot()
        if head is None:
            return False
        if what == "tag":
            return self._tag(table, dataset, n, head.snapshot_id)
        if what == "rewrite":
            table.overwrite(table.scan().to_arrow())
            return True
        return self._move(table, dataset, what, n)

    def keep(self, dataset: str, frames: Mapping[int, int]) -> None:
        """Never go back before these frames again: hot has them no longer."""
        floor = self._floors.setdefault(dataset, {})
        for shard, frame in frames.items():
            floor[shard] = max(frame, floor.get(shard, 0))

    def assert_tags(self) -> None:
        """What was tagged reads as it did."""
        for (dataset, tag), rows in self._tags.items():
            table = self._catalog.load_table(("market", dataset))
            found = _rows(table, table.refs()[tag].snapshot_id)
            assert found == rows, f"lake.{dataset}: tag {tag} has {len(found)} rows of {len(rows)}"

    def _tag(self, table: Table, dataset: str, n: int, snapshot_id: int) -> bool:
        tag = f"tag-{n}"
        if (dataset, tag) in self._tags:
            return False
        table.manage_snapshots().create_tag(snapshot_id, tag).commit()
        self._tags[dataset, tag] = _rows(table, snapshot_id)
        return True

    def _move(self, table: Table, dataset: str, what: str, n: int) -> bool:
        ancestors = list(_ancestors(table))
        before = {each.snapshot_id for each in ancestors}
        if what == "forward":
            found = [s for s in table.snapshots() if s.snapshot_id not in before]
        else:
            found = ancestors[1:]
        found = [each for each in found if self._is_allowed(dataset, each)]
        if not found:
            return False
        to = found[n % len(found)].snapshot_id
        table.manage_snapshots().set_current_snapshot(to).commit()
        if what == "rollback-expire":
            table = self._catalog.load_table(("market", dataset))
            kept = {each.snapshot_id for each in _ancestors(table)}
            pinned = {ref.snapshot_id for ref in table.refs().values()}
            going = [i for s in table.snapshots() if (i := s.snapshot_id) not in kept | pinned]
            if going:
                table.maintenance.expire_snapshots().by_ids(going).commit()
        return True

    def _is_allowed(self, dataset: str, snapshot: Snapshot) -> bool:
        """Tell whether the snapshot says what it holds, and it is enough."""
        summary = snapshot.summary.additional_properties if snapshot.summary else {}
        floor = self._floors.get(dataset, {})
        return EPOCH in summary and all(
            int(summary.get(f"{THROUGH}{shard}", 0)) >= frame for shard, frame in floor.items()
        )


def _ancestors(table: Table) -> list[Snapshot]:
    found = []
    at = table.current_snapshot()
    while at is not None:
        found.append(at)
        parent = at.parent_snapshot_id
        at = table.snapshot_by_id(parent) if parent is not None else None
    return found


def _rows(table: Table, snapshot_id: int) -> list[tuple[int, int]]:
    found = table.scan(snapshot_id=snapshot_id, selected_fields=("shard", "seq")).to_arrow()
    pairs = zip(found["shard"].to_pylist(), found["seq"].to_pylist(), strict=True)
    return sorted(pairs)
