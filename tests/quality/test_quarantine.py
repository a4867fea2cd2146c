"""Issue 5, part 3: what was refused is let in by hand once, or kept out; all proofs still hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import psycopg
import pyarrow as pa
import pytest

from flows.trades_to_bars import TradesToBars
from infra.command.main import run
from lake.bars.changes import Changes
from lake.contracts.arrow_schema import arrow_schema
from lake.contracts.contract import load
from lake.errors import Damaged
from tests.bars.trading import NOON, Row
from tests.path.lakehouse import NOW_MS, Lakehouse, frame, quote, trade
from tests.path.market import Ended, Home, Market, ended, interrupted
from tests.quality.house import House, bar
from tests.quality.house import trade as row_of_trade

LATER_MS = NOW_MS + 3_600_000
"""An hour after its receipt: refused as from the future, until that hour has passed."""


class Quarantine:
    """A home whose journal holds events that were refused when they came."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self.home = Home(dsn, folder)
        self.lakehouse = Lakehouse(dsn, folder)

    def take(self, *events: str) -> list[str]:
        """Take a frame in; return the names of its refused events."""
        self.lakehouse.journal([frame(*events)])
        assert self.lakehouse.move() == 0
        return [row["thing"] for row in self.listed()]

    def say(self, *words: str, faults: str = "") -> Ended:
        """Run the verb: here, which is quicker, unless it is to be killed."""
        if faults:
            return ended(self.home.start("quarantine", *words, faults=faults))
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = run(["quarantine", *words, "--home", str(self.home.path)])
        return Ended(code, out.getvalue(), err.getvalue())

    def listed(self, *words: str) -> list[dict[str, Any]]:
        done = self.say("list", "--json", *words)
        assert done.code == 0, done.err
        found: list[dict[str, Any]] = json.loads(done.out)["events"]
        return found

    def count(self, dataset: str) -> int:
        return int(self.home.rows(f"SELECT count(*) AS n FROM {dataset}")["n"][0])


@pytest.fixture
def quarantine(
    migrated_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Quarantine]:
    monkeypatch.setenv("TICKLAKE_LAKE_COMMIT_MS", "200")
    made = Quarantine(migrated_dsn, tmp_path / "home")
    yield made
    made.home.close()


def test_a_released_event_is_stored_once_and_verify_holds(quarantine: Quarantine) -> None:
    things = quarantine.take(
        trade(1), trade(2, at_ms=LATER_MS), quote(100.0), quote(101.0, at_ms=LATER_MS)
    )
    assert len(things) == 2
    for _ in range(2):  # the second time changes nothing
        for thing in things:
            done = quarantine.say("release", thing, "--reason", "a wrong clock", "--by", "ann")
            assert done.code == 0, done.err
            assert "released by ann" in done.out
    assert (quarantine.count("crypto_trades"), quarantine.count("crypto_quotes")) == (2, 2)
    assert quarantine.count("quarantine") == 2
    assert quarantine.listed() == []
    assert {row["decision"] for row in quarantine.listed("--all")} == {"released"}
    quarantine.home.assert_verified()


def test_an_event_is_released_beside_the_ingest_that_owns_its_shard(
    quarantine: Quarantine, tmp_path: Path
) -> None:
    """By its inbox; a quote of a feed whose one connection speaks for it, too."""
    things = quarantine.take(trade(2, at_ms=LATER_MS), quote(101.0, at_ms=LATER_MS))
    with Market(tmp_path, rate=200) as market:
        ingest = quarantine.home.start("ingest", "sim", "--url", market.url)
        assert quarantine.home.shows("SELECT count(*) > 0 FROM hot.crypto_trades")
        for _ in range(2):  # the second time changes nothing
            for thing in things:
                done = quarantine.say("release", thing, "--by", "ann")
                assert done.code == 0, done.err
                assert "1 rows of crypto_" in done.out
        assert ingest.poll() is None
        assert interrupted(ingest).code == 0
    released = "FROM {} WHERE event_time = to_timestamp({} / 1000.0)"
    for dataset in ("crypto_trades", "crypto_quotes"):
        assert quarantine.home.rows(f"SELECT count(*) AS n {released.format(dataset, LATER_MS)}")[
            "n"
        ].to_list() == [1]
    quarantine.home.assert_verified()


def test_beside_an_ingest_of_other_tickers_it_is_refused_with_the_remedy(
    quarantine: Quarantine, tmp_path: Path
) -> None:
    [thing] = quarantine.take(quote(101.0, pair="NOSUCH-USD", at_ms=LATER_MS))
    with Market(tmp_path, rate=200) as market:
        ingest = quarantine.home.start("ingest", "sim", "--url", market.url, "--tickers", "BTC-USD")
        assert quarantine.home.shows("SELECT count(*) > 0 FROM hot.crypto_trades")
        done = quarantine.say("release", thing)
        assert interrupted(ingest).code == 0
    assert done.code == 1
    assert "takes in other tickers than sim|X:NOSUCHUSD" in done.sentence
    assert "stop that ingest, then run this again" in done.sentence
    assert quarantine.say("release", thing).code == 0
    assert quarantine.count("crypto_quotes WHERE ticker = 'X:NOSUCHUSD'") == 1


@pytest.mark.parametrize("step", ["journal.fsync", "journal.published"])
def test_a_release_that_is_killed_goes_on_and_brings_the_event_once(
    quarantine: Quarantine, step: str
) -> None:
    """A quote has no key: only the journal can say whether it was handed in."""
    [thing] = quarantine.take(quote(101.0, at_ms=LATER_MS))
    assert quarantine.say("release", thing, faults=f"{step}=kill@1").code < 0
    done = quarantine.say("release", thing)
    assert done.code == 0, done.err
    assert quarantine.count("crypto_quotes") == 1
    quarantine.home.assert_verified()


def test_what_its_codec_still_refuses_needs_a_correction(
    quarantine: Quarantine, tmp_path: Path
) -> None:
    [thing] = quarantine.take(trade(1), trade(2, price=-5))
    shown = quarantine.say("show", thing)
    assert '"p":-5' in shown.out
    done = quarantine.say("release", thing)
    assert done.code == 1
    for word in (thing, "would refuse it again: price", "--with FILE"):
        assert word in done.sentence
    assert len(quarantine.listed()) == 1  # nothing was decided
    right = tmp_path / "right.json"
    right.write_text(trade(2, price=5))
    done = quarantine.say("release", thing, "--with", str(right), "--reason", "venue said 5")
    assert done.code == 0, done.err
    prices = quarantine.home.rows("SELECT price FROM crypto_trades ORDER BY trade_id")
    assert prices["price"].to_list() == [Decimal("100.5"), Decimal(5)]
    quarantine.home.assert_verified()


def test_a_refused_event_stays_out_and_the_decision_stands(quarantine: Quarantine) -> None:
    [thing] = quarantine.take(trade(2, at_ms=LATER_MS))
    assert quarantine.say("refuse", thing, "--reason", "no such trade", "--by", "ann").code == 0
    done = quarantine.say("release", thing)
    assert done.code == 2
    assert "is refused already" in done.sentence
    assert quarantine.count("crypto_trades") == 0
    assert quarantine.listed() == []
    assert quarantine.say("release", "0:12").code == 2
    assert quarantine.say("refuse", "batch-7").code == 2


@pytest.fixture
def house(migrated_dsn: str, tmp_path: Path) -> Iterator[House]:
    house = House(migrated_dsn, tmp_path / "warehouse")
    house.start_shard(0)
    yield house
    house.close()


class BadMaker(TradesToBars):
    """Makes one bar that no rule lets pass, as a fault of ours might."""

    bad: ClassVar[list[Row]] = [bar(NOON, 100, high=Decimal(1))]

    def step(self) -> Any:
        with self._turn() as table:
            held = self._look(table)
            rows = pa.Table.from_pylist(self.bad + GOOD, schema=arrow_schema(load("bars")))
            return self._published(table, Changes(rows, rows.slice(0, 0)), held, more=False)


class DoubledMaker(BadMaker):
    """Makes a bucket twice, which only a rule about several rows can see."""

    bad: ClassVar[list[Row]] = [bar(NOON, 100), bar(NOON, 101)]


GOOD: list[Row] = [bar(NOON + timedelta(minutes=5), 100)]


@pytest.mark.parametrize(
    ("made", "decision", "bars"),
    [
        (BadMaker, "released", 2),
        (BadMaker, "refused", 1),
        (DoubledMaker, "released", 3),
        (DoubledMaker, "refused", 1),
    ],
)
def test_a_batch_that_breaks_a_rule_waits_unseen_for_a_decision(
    house: House, made: type[BadMaker], decision: str, bars: int
) -> None:
    house.take([row_of_trade(NOON)])
    with made(house.dsn, house.place) as maker:
        for _ in range(2):  # the same batch, not another
            with pytest.raises(Damaged, match="quarantine release batch-1"):
                maker.step()
        assert house.rows("SELECT count(*) AS n FROM bars") == [{"n": 0}]
        with psycopg.connect(house.dsn) as connection:
            connection.execute(
                "INSERT INTO market.quarantine_decisions VALUES"
                " ('batch-1', %s, 'why', 'ann', now(), NULL, NULL)",
                (decision,),
            )
            held = connection.execute("SELECT rows_at_fault FROM market.held_batches").fetchone()
        assert held is not None
        assert len(held[0]) == len(made.bad)
        maker.step()
    assert house.rows("SELECT count(*) AS n FROM bars") == [{"n": bars}]
