"""Issue 5, part 4: promises are measured, counted by the minute, and alerts when broken."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from flows.promises_to_alerts import Bounds, Checked, check
from flows.trades_to_bars import TradesToBars
from infra.servers.ports import choose
from lake.clock import ManualClock, utc_from_us
from lake.database import BY_RANGE, with_options
from lake.errors import Unavailable, WrongUse
from lake.hot.alerts import open_alerts
from lake.hot.completeness import complete_shares
from lake.hot.freshness import newest_event
from lake.hot.promises import Month, months, pause
from lake.ingest.report import feeds_heard, folder
from lake.ingest.status import FeedStatus, Status
from tests.bars.trading import EPOCH, NOON, published_bar
from tests.verify.lakehouse import Lakehouse, trade

US = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)
BOUNDS = Bounds(completeness=0.99, quality=0.95)


class House(Lakehouse):
    """A lakehouse whose clock stands where the test says."""

    clock: ManualClock

    def now(self) -> datetime:
        return utc_from_us(self.clock.now_us())

    def trades(self, at: datetime, count: int = 3) -> None:
        """Store trades, a second between them, the last at a time."""
        first = self.frames[0] + 1
        rows = [trade(first + n, 0) for n in range(count)]
        for n, row in enumerate(reversed(rows)):
            row["event_time"] = at - timedelta(seconds=n)
        self.write(frames=count, tables={"crypto_trades": rows})

    def look(self, after: timedelta = timedelta(0), **options: object) -> Checked:
        self.clock.sleep(after.total_seconds())
        return check(self.dsn, self.place, self.clock, BOUNDS, **options)

    def broken(self, after: timedelta = timedelta(0)) -> list[str]:
        return [f"{each.promise} of {each.thing}" for each in self.look(after).broken]

    def alerts(self) -> list[str]:
        with psycopg.connect(self.dsn) as connection:
            return [each.thing for each in open_alerts(connection)]

    def month(self, thing: str = "crypto_trades") -> tuple[int, int]:
        with psycopg.connect(self.dsn) as connection:
            found = {each.thing: each for each in months(connection, NOON.date())}
        return found[thing].minutes, found[thing].minutes_met

    def gap(self, number: int, start: datetime, minutes: float, **changed: object) -> None:
        """Write a gap of a feed into the book."""
        end = start + minutes * MINUTE
        row = {
            "gap_id": number,
            "feed": "sim",
            "connection": 0,
            "kind": "disconnect",
            "gap_from": start,
            "gap_to": end,
            "detected_time": start,
            "closed_time": end,
            "shard": 0,
            "seq": number,
        } | changed
        names = ", ".join(row)
        marks = ", ".join(["%s"] * len(row))
        self.sql(f"INSERT INTO market.feed_gaps ({names}) VALUES ({marks})", *row.values())

    def complete(self) -> dict[str, float]:
        with psycopg.connect(self.dsn) as connection:
            return complete_shares(connection, self.now())


@pytest.fixture
def house(migrated_dsn: str, tmp_path: Path) -> Iterator[House]:
    house = House(migrated_dsn, tmp_path / "warehouse")
    house.clock = ManualClock((NOON - EPOCH) // US)
    house.start_shard(0)
    yield house
    house.close()


def test_the_newest_event_is_told_to_the_microsecond(house: House) -> None:
    with psycopg.connect(with_options(house.dsn, **BY_RANGE)) as connection:
        assert newest_event(connection, "crypto_trades", NOON) is None
        house.trades(NOON - timedelta(seconds=7, microseconds=13))
        house.trades(NOON - timedelta(hours=3))  # late ones
        house.trades(NOON + timedelta(days=400))  # a venue with a wrong clock
        newest = newest_event(connection, "crypto_trades", NOON)
        assert newest == NOON - timedelta(seconds=7, microseconds=13)


def test_a_feed_that_stops_breaks_its_promise_after_five_minutes_and_not_before(
    house: House,
) -> None:
    house.trades(NOON)
    assert house.broken(timedelta(minutes=5)) == []
    assert house.broken(timedelta(seconds=1)) == ["freshness of crypto_trades"]
    assert house.alerts() == ["freshness of crypto_trades"]
    house.trades(house.now())
    assert house.broken() == []
    assert house.alerts() == []


def says(home: Path, shard: int, feed: str, clock: ManualClock, **changed: object) -> Path:
    """Write what an ingest of one live feed says of itself now."""
    heard = FeedStatus(last_us=clock.now_us())
    status = Status(shard, at_us=clock.now_us(), feeds={feed: heard}, live=(feed,))
    said = {
        "shard": shard,
        "at_us": clock.now_us(),
        "fault": None,
        "status": {**asdict(status), **changed},
        "pid": 1,
        "host": "elsewhere",
        "boot_id": "",
    }
    path = folder(home) / f"shard-{shard}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(said))
    return path


def test_one_feed_whose_ingest_was_killed_is_missed_beside_another(
    house: House, tmp_path: Path
) -> None:
    """Its dataset stays fresh by the other; an ingest that ends in good order misses nobody."""

    def look() -> list[str]:
        heard = feeds_heard(tmp_path, house.clock)
        return [f"{each.promise} of {each.thing}" for each in house.look(heard=heard).broken]

    def goes_on() -> None:
        house.clock.sleep(301)
        house.trades(house.now())
        says(tmp_path, 0, "coinbase", house.clock)

    house.trades(NOON)
    says(tmp_path, 0, "coinbase", house.clock)
    killed = says(tmp_path, 1, "kraken", house.clock)
    assert look() == []
    goes_on()
    assert look() == house.alerts() == ["freshness of feed kraken"]
    says(tmp_path, 1, "kraken", house.clock)  # it was started again
    assert look() == house.alerts() == []
    killed.unlink()
    goes_on()
    assert look() == house.alerts() == []
    ended = house.month("feed kraken")
    house.look(unanswered=[house.now() + n * MINUTE for n in range(1, 4)])
    assert house.month("feed kraken") == ended


def test_a_feed_is_heard_while_no_gap_of_it_is_open_and_recordings_are_not_waited_for(
    tmp_path: Path,
) -> None:
    clock = ManualClock((NOON - EPOCH) // US)
    now_us = clock.now_us()
    old = asdict(FeedStatus(last_us=now_us - 9_000_000))
    says(tmp_path, 0, "sim", clock, feeds={"sim": old})
    assert feeds_heard(tmp_path, clock) == {"sim": now_us}
    says(tmp_path, 0, "sim", clock, feeds={"sim": {**old, "gaps_opened": 1}})
    assert feeds_heard(tmp_path, clock) == {"sim": now_us - 9_000_000}
    says(tmp_path, 0, "sim", clock, live=[])
    assert feeds_heard(tmp_path, clock) == {}
    says(tmp_path, 0, "sim", clock, draining=True)
    assert feeds_heard(tmp_path, clock) == {}


def test_recordings_of_another_day_are_not_late(house: House) -> None:
    house.trades(NOON - timedelta(days=30))
    found = {each.measured.promise: each for each in house.look().standings}
    assert (found["freshness"].measured.met, found["freshness"].watched) == (False, False)
    assert house.alerts() == []


def test_each_minute_counts_once_and_a_month_is_their_sum(house: House) -> None:
    house.trades(NOON)
    for _ in range(20):
        house.look()
        house.clock.sleep(30)
    assert house.month() == (10, 6)
    house.look(unanswered=[house.now() + n * MINUTE for n in range(3)])
    assert house.month() == (13, 6)


def test_a_month_s_goal_is_missed_when_more_minutes_were_than_it_allows() -> None:
    november = date(2026, 11, 1)  # 43,200 minutes, of which 43 are 0.1 %
    for missed, is_used_up in ((43, False), (44, True)):
        month = Month("crypto_trades", "freshness", november, 10_000, 10_000 - missed)
        assert month.used_up is is_used_up


def test_a_month_that_is_used_up_is_an_alert_of_its_own(house: House) -> None:
    house.trades(NOON)
    house.look()
    house.look(unanswered=[NOON + n * MINUTE for n in range(1, 50)])
    assert "monthly freshness of crypto_trades" in house.alerts()


def test_a_feed_that_ended_for_good_is_watched_no_more(house: House) -> None:
    house.trades(NOON)
    house.look()
    assert house.broken(timedelta(hours=1)) == ["freshness of crypto_trades"]
    with psycopg.connect(house.dsn, autocommit=True) as connection:
        assert pause(connection, "crypto_trades", house.now()) == 1
        with pytest.raises(WrongUse, match="one of crypto_trades"):
            pause(connection, "cripto_trades", house.now())
    before = house.month()
    assert house.broken(MINUTE) == house.alerts() == []
    assert house.month() == before
    with psycopg.connect(house.dsn, autocommit=True) as connection:
        pause(connection, "crypto_trades", None)
    assert house.broken(MINUTE) == ["freshness of crypto_trades"]


def test_a_gap_that_is_not_filled_makes_the_last_hour_incomplete(house: House) -> None:
    house.trades(NOON)
    house.sql("UPDATE market.ingest_batches SET committed_time = %s", NOON)
    assert house.complete() == {"sim": 1.0}
    house.gap(1, NOON - 90 * MINUTE, 33)  # three minutes of it in the last hour
    assert house.complete() == {"sim": pytest.approx(0.95)}
    house.gap(2, NOON - 58 * MINUTE, 3)  # two minutes of it in none before
    assert house.complete() == {"sim": pytest.approx(1 - 5 / 60)}
    house.gap(2, NOON - 58 * MINUTE, 3, filled="crypto_trades,crypto_aggregates", seq=3)
    assert house.complete() == {"sim": pytest.approx(0.95)}
    house.gap(4, NOON - 6 * MINUTE, 1, gap_to=None, closed_time=None, feed="other")
    assert house.complete() == {"sim": pytest.approx(0.95), "other": pytest.approx(0.9)}


def test_time_that_another_connection_heard_is_complete(house: House) -> None:
    house.gap(1, NOON - 30 * MINUTE, 10)
    house.gap(2, NOON - 22 * MINUTE, 10, connection=1)
    assert house.complete() == {"sim": pytest.approx(1 - 2 / 60)}


def test_an_incomplete_feed_is_an_alert_until_the_hour_is_over(house: House) -> None:
    house.trades(NOON)
    house.sql("UPDATE market.ingest_batches SET committed_time = %s", NOON)
    assert house.broken() == []
    house.gap(1, NOON, 5)
    assert "completeness of sim" in house.broken(10 * MINUTE)
    assert "completeness of sim" not in house.broken(60 * MINUTE)
    assert house.alerts() == ["freshness of crypto_trades"]


def test_bars_are_as_fresh_as_the_time_they_are_closed_before(house: House) -> None:
    house.trades(NOON)
    house.write(frames=1, tables={"crypto_aggregates": [published_bar(4, NOON)]})
    house.clock.sleep(61)
    with TradesToBars(house.dsn, house.place, clock=house.clock, grace_ms=0) as bars:
        bars.drain()
    found = {each.measured.thing: each.measured.value for each in house.look().standings}
    assert found["bars"] == 1.0
    assert "freshness of bars" not in house.broken(timedelta(seconds=299))
    assert "freshness of bars" in house.broken(timedelta(seconds=1))


def test_what_can_t_be_measured_is_an_alert_and_keeps_no_other_from_being(house: House) -> None:
    house.trades(NOON)
    house.clock.sleep(61)
    with TradesToBars(house.dsn, house.place, clock=house.clock, grace_ms=0) as bars:
        bars.drain()
    house.look()
    place = Path(house.table("bars").metadata_location.removeprefix("file://"))
    place.rename(place.with_suffix(".aside"))
    assert house.broken(5 * MINUTE) == ["freshness of crypto_trades"]
    assert set(house.alerts()) == {"measuring freshness of bars", "freshness of crypto_trades"}
    place.with_suffix(".aside").rename(place)
    house.look()
    assert "measuring freshness of bars" not in house.alerts()


def test_a_hot_tier_that_is_not_there_is_one_clear_error(house: House) -> None:
    dsn = f"postgresql://ticklake@127.0.0.1:{choose(None)}/none"
    with pytest.raises(Unavailable, match=r"hot tier: .*is the server up"):
        check(dsn, house.place, house.clock, BOUNDS)
