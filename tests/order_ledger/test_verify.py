"""Who changes the ledger is found out, a superuser too; and who makes it anew lacks the anchors."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from feature_repo.ledger.anchor import anchors_of, make_anchor, name_of
from feature_repo.ledger.chain import GENESIS, link
from feature_repo.ledger.event_rows import text_sql
from feature_repo.ledger.second_place import LockedFolder
from feature_repo.ledger.verify import Verified, verify
from feature_repo.ledger.writer import Writer
from lake.audit.signing import Signer, signer_at
from lake.clock import ManualClock
from lake.errors import Damaged
from tests.order_ledger.orders import ONE, START_US, change, fill, place

BY_HAND = tuple(
    f"ALTER TABLE market.{table} DISABLE TRIGGER USER"
    for table in ("order_events", "position_events", "ledger_anchors")
)
"""What a superuser, or the tables' owner, does to get past the triggers."""


class Desk:
    """A ledger with three orders behind an anchor, and one after it."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self.dsn = dsn
        self.place = LockedFolder(folder / "second")
        self.signer: Signer = signer_at(folder / "keys" / "ledger.pem")
        self.clock = ManualClock(START_US)
        self.trade("a", "b", "c")
        assert self.anchor() == 1
        self.trade("d")

    def trade(self, *names: str) -> None:
        """Place, accept and fill orders of these names, with the triggers on."""
        with psycopg.connect(self.dsn) as connection:
            for statement in BY_HAND:
                connection.execute(statement.replace("DISABLE", "ENABLE").encode())
        writer = Writer(self.dsn, self.clock)
        for name in names:
            outcomes = writer.commit([place(name), change(name, "accepted"), fill(name)])
            assert all(each.is_new for each in outcomes)
        writer.close()

    def anchor(self) -> int:
        """Anchor what is new; return the anchor's number, 0 for none."""
        made = make_anchor(self.dsn, self.place, self.signer, self.clock)
        return made.number if made else 0

    def verify(self) -> Verified:
        """Check everything."""
        return verify(self.dsn, self.place, self.signer.public, segments=True)

    def by_hand(self, *statements: str) -> None:
        """Do as a superuser does."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for statement in (*BY_HAND, *statements):
                connection.execute(statement.encode())

    def make_anew(self) -> None:
        """Compute every hash again, as the forger does who knows how."""
        self.by_hand()
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            before = GENESIS
            text = text_sql("order_events")
            query = f"SELECT id, {text} FROM market.order_events ORDER BY id"
            rows = connection.execute(query.encode()).fetchall()
            for event_id, text in rows:
                before = link(before, text)
                connection.execute(
                    "UPDATE market.order_events SET hash = %s WHERE id = %s", (before, event_id)
                )
            connection.execute(
                "UPDATE market.ledger_heads SET hash = %s, last_id = %s"
                " WHERE ledger = 'order_events'",
                (before, rows[-1][0]),
            )


@pytest.fixture
def desk(migrated_dsn: str, tmp_path: Path) -> Desk:
    """Return a ledger of three anchored orders and one more."""
    return Desk(migrated_dsn, tmp_path)


def test_a_ledger_that_nobody_touched_holds(desk: Desk) -> None:
    found = desk.verify()
    assert found.faults == []
    assert (found.events, found.anchored, len(found.anchors), found.segments) == (16, 12, 1, 2)
    assert desk.anchor() == 2
    assert desk.anchor() == 0
    found = desk.verify()
    assert (found.faults, found.anchored, found.segments) == ([], 16, 4)


SWAP = (
    "UPDATE market.order_events SET id = -1 WHERE id = 4",
    "UPDATE market.order_events SET id = 4 WHERE id = 5",
    "UPDATE market.order_events SET id = 5 WHERE id = -1",
)
MORE = (
    "UPDATE market.order_events SET id = -id - 1 WHERE id > 4",
    "UPDATE market.order_events SET id = -id WHERE id < 0",
    "INSERT INTO market.order_events SELECT 5, order_id, 99, 'cancelled', event_time, account,"
    " client_order_id, 'x', ticker, exchange, market, side, kind, NULL, NULL, NULL, '', '{}',"
    " created_at, hash FROM market.order_events WHERE id = 4",
)
TAMPERED = {
    "edited": (["UPDATE market.order_events SET size = size * 2 WHERE id = 3"], "event 3 is not"),
    "edited after the anchor": (
        ["UPDATE market.order_events SET fee = 0 WHERE id = 12"],
        "event 12 is not",
    ),
    "deleted": (["DELETE FROM market.order_events WHERE id IN (4, 5)"], "events 4 to 5 are gone"),
    "inserted": (MORE, "event 5 is not"),
    "reordered": (SWAP, "event 4 is not"),
    "cut off behind the anchor": (
        [
            "DELETE FROM market.order_events WHERE id > 6",
            "UPDATE market.ledger_heads SET last_id = 6, hash = (SELECT hash FROM"
            " market.order_events WHERE id = 6) WHERE ledger = 'order_events'",
        ],
        "ends at event 6, but anchor 1 names 9",
    ),
    "cut off after the anchor": (
        ["DELETE FROM market.order_events WHERE id > 10"],
        "ends at event 10, but its head is 12",
    ),
    "an edited position": (
        ["UPDATE market.position_events SET cash_after = 1 WHERE id = 2"],
        "position_events: event 2 is not",
    ),
    "an anchor taken away": (
        ["DELETE FROM market.ledger_anchors"],
        None,  # the last one may be missing: the next anchor enters it
    ),
    "an anchor changed": (
        ["UPDATE market.ledger_anchors SET document = '{\"number\": 1}'"],
        "the database has another",
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_a_change_by_a_superuser_is_found(desk: Desk, what: str) -> None:
    statements, fault = TAMPERED[what]
    desk.by_hand(*statements)
    found = desk.verify().faults
    assert (fault is None and found == []) or any(str(fault) in each for each in found), found


def edited(desk: Desk) -> None:
    desk.by_hand("UPDATE market.order_events SET price = 1 WHERE id = 3")


def deleted(desk: Desk) -> None:
    desk.by_hand(
        "DELETE FROM market.order_events WHERE id = 6",
        "UPDATE market.order_events SET id = id - 1 WHERE id > 6",
    )


def swapped(desk: Desk) -> None:
    desk.by_hand(*SWAP)


@pytest.mark.parametrize("forge", [edited, deleted, swapped])
def test_a_chain_made_anew_lacks_the_anchor(desk: Desk, forge: Callable[[Desk], None]) -> None:
    forge(desk)
    desk.make_anew()
    found = desk.verify().faults
    assert any("not the one that anchor 1 names" in each for each in found), found
    if forge is not deleted:
        assert len(found) == 1  # the chain itself is as good as the true one


def test_a_forger_without_the_key_can_not_anchor(desk: Desk, tmp_path: Path) -> None:
    edited(desk)
    desk.make_anew()
    forger = signer_at(tmp_path / "forger.pem")
    (true,) = (path for path in (tmp_path / "second" / "anchors").iterdir())
    true.unlink()
    desk.by_hand("DELETE FROM market.ledger_anchors")
    make_anchor(desk.dsn, LockedFolder(tmp_path / "other"), forger, desk.clock)
    true.write_bytes((tmp_path / "other" / name_of(1)).read_bytes())
    found = desk.verify().faults
    assert any("signature is not by key" in each for each in found), found


def test_no_anchor_is_made_over_a_change(desk: Desk) -> None:
    desk.by_hand("UPDATE market.order_events SET size = 5 WHERE id = 11")
    with pytest.raises(Damaged, match="are not what was written"):
        desk.anchor()


def test_an_anchor_gone_from_the_second_place_and_a_changed_segment(
    desk: Desk, tmp_path: Path
) -> None:
    desk.anchor()
    (tmp_path / "second" / name_of(1)).unlink()
    segment = sorted((tmp_path / "second" / "segments").iterdir())[0]
    assert any("missing in" in each for each in desk.verify().faults)
    with psycopg.connect(desk.dsn) as connection:
        first, second = anchors_of(connection)
    desk.place.put(name_of(1), first.file())
    assert desk.verify().faults == []
    segment.chmod(0o600)
    segment.write_bytes(segment.read_bytes()[:-9])
    assert any("is not what was sealed" in each for each in desk.verify().faults)
    with pytest.raises(Damaged, match="says something else"):
        desk.place.put(name_of(2), replace(second, signature="00").file())


def test_an_anchor_whose_process_died_is_entered_by_the_next(desk: Desk) -> None:
    desk.anchor()
    desk.by_hand("DELETE FROM market.ledger_anchors WHERE number = 2")
    assert desk.verify().faults == []
    desk.trade("e")
    assert desk.anchor() == 3
    assert desk.verify().faults == []


def test_a_segment_holds_the_events_in_the_words_that_were_hashed(desk: Desk) -> None:
    names = desk.place.names("segments")
    (orders,) = (name for name in names if "order_events" in name)
    lines = gzip.decompress(desk.place.get(orders)).decode().split("\n")[:-1]
    before = GENESIS
    for line in lines:
        hash_, text = line.split("\t", 1)
        before = link(before, text)
        assert before == hash_
    assert len(lines) == 9
    assert f"\x1f{ONE // ONE}.0000000000\x1f" in lines[2]
