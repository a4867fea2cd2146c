"""Issue 6, part 8: features, predictions and results of models in use are watched, and told of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html.parser import HTMLParser

import numpy as np
import psycopg
import pyarrow as pa
import pytest

from feature_repo.models.drift import profile_of
from feature_repo.models.watch import Watched, columns_of, performance
from flows.drift_to_page import bins, page, write_page
from flows.features_to_drift import Looked, look, results_of
from flows.features_to_predictions import score
from infra.command.main import run
from lake.hot.alerts import open_alerts
from tests.conftest import Databases
from tests.models.watched_house import BARS, BARS_TRAINED, WatchedHouse, watched_house

CALM, WILD = 1_200, 200
END = BARS_TRAINED + CALM
CHANCE = np.random.default_rng(3)


@pytest.fixture(scope="module")
def house(
    databases: Databases, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WatchedHouse]:
    """Return a house with a champion, a challenger and 1,200 bars like those of its training."""
    with watched_house(databases, migrated_template, tmp_path_factory.mktemp("home")) as house:
        house.train("champion")
        house.train("challenger", seed=2)
        house.more(CALM)
        score(house.dsn, house.place, house.registry, house.clock)
        yield house


def test_what_went_far_is_a_result_an_alert_and_a_page(house: WatchedHouse) -> None:
    calm = look(house.dsn, house.place, house.registry, house.clock, window_bars=WILD)
    champion, challenger = calm.watched
    assert (champion.role, challenger.role, champion.rows) == ("champion", "challenger", WILD)
    assert "return_1" not in [each.name for each in champion.drifted]  # it remembers nothing
    assert champion.prediction is not None
    assert sum(each.weight for each in champion.columns) == pytest.approx(1)
    assert champion.performance is not None
    assert champion.performance.rows == WILD - 5  # the last five bars have no label yet
    assert champion.performance.metrics["log_loss"] == pytest.approx(log_loss(house))
    house.more(WILD, wild=0.02)
    score(house.dsn, house.place, house.registry, house.clock)
    wild = look(house.dsn, house.place, house.registry, house.clock, window_bars=WILD)
    champion = wild.watched[0]
    assert champion.drifted_weight > 0.9
    results = house.rows(
        f"SELECT * FROM lake.quality_results WHERE run_id = {wild.run} AND status = 'failed'"
        " AND rule LIKE 'drift.direction.champion.%'"
    ).to_pylist()
    named = {each["rule"].rpartition(".")[2]: each for each in results}
    assert set(named) >= {"return_1", "realised_volatility_30"}
    measured = json.loads(named["return_1"]["rows_at_fault"])[0]
    assert measured["psi"] > 0.25
    assert named["return_1"]["rows_failed"] == round(measured["ks"] * WILD)
    with psycopg.connect(house.dsn) as connection:
        (alert,) = open_alerts(connection)  # of the champion; nobody acts on a challenger
    assert alert.thing == "drift of direction"
    assert "are not as in training" in alert.fault
    text = write_page(house.home, house.dsn, wild, house.clock).read_text()
    page_is_whole(text)
    assert "direction 1, champion" in text
    assert "Newest predictions" in text
    assert "Log loss, run by run" in text
    house.registry.set_role("direction", 2, "champion")  # the alert goes with who it is about
    later = look(house.dsn, house.place, house.registry, house.clock, window_bars=100_000)
    with psycopg.connect(house.dsn) as connection:
        assert len(open_alerts(connection)) == bool(later.watched[0].faults())


def log_loss(house: WatchedHouse) -> float:
    """Return the log loss of version 1 over the last calm bars, by the closes themselves."""
    close = BARS["close"].cast(pa.float64()).to_numpy()
    at = np.arange(END - WILD, END - 5)
    value = close[at + 5] / close[at] - 1
    place = np.where(np.abs(value) <= 2e-4, 1, np.where(value > 0, 2, 0))
    rows = house.rows(
        "SELECT probability_down, probability_flat, probability_up FROM model_predictions"
        f" WHERE model_version = 1 ORDER BY event_time DESC LIMIT {WILD}"
    )
    said = np.column_stack([rows[name].to_numpy() for name in rows.column_names])[::-1][:-5]
    return float(-np.log(said[np.arange(len(place)), place]).mean())


def test_the_verbs_say_it_and_end_by_it(
    house: WatchedHouse, capsys: pytest.CaptureFixture[str]
) -> None:
    home = house.home
    assert run(["models", "score", "--home", str(home), "--json"]) == 0
    versions = json.loads(capsys.readouterr().out)["versions"]
    assert [each["rows"] for each in versions] == [0]
    out = home / "a page.html"
    code = run(["models", "monitor", "-o", str(out), "--home", str(home), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == bool(found["versions"][0]["faults"])
    assert set(found["versions"][0]["features"]) == {"return_1", "rsi_14", "realised_volatility_30"}
    page_is_whole(out.read_text())


def test_a_heavy_feature_counts_and_a_light_one_does_not() -> None:
    trained = profile_of(CHANCE.normal(size=5_000))
    same, moved = CHANCE.normal(size=2_000), CHANCE.normal(3, size=2_000)
    profiles = {"a": trained, "b": trained}
    for weights, looked_at in (({"a": 9.0, "b": 1.0}, 0), ({"a": 1.0, "b": 9.0}, 1)):
        columns = columns_of({"a": same, "b": moved}, profiles, weights)
        found = Watched("m", 1, "champion", "r", "1m", 2_000, 0, 1, columns)
        assert [each.name for each in found.drifted] == ["b"]
        assert len(found.faults()) == looked_at
        assert [each.holds for each in results_of(found)].count(False) == 1


def test_too_few_rows_say_nothing() -> None:
    columns = columns_of({"a": np.zeros(99)}, {"a": profile_of(np.arange(1_000.0))}, {"a": 1.0})
    found = Watched("m", 1, "champion", "r", "1m", 99, 0, 1, columns)
    assert found.faults() == []
    assert results_of(found) == []
    none = np.zeros((99, 3))
    assert performance(none, np.zeros(99, np.int64), np.zeros(99), {"log_loss": 1.0}) is None


def test_what_comes_from_data_is_escaped(house: WatchedHouse) -> None:
    odd = Watched("<b>m", 1, "champion", "<i>r", "1m", fault="takes <script>")
    text = page(house.dsn, Looked(1, (odd,)), 0)
    page_is_whole(text)
    assert "<script>" not in text
    assert "<i>r" not in text
    assert "No version has a role" in page(house.dsn, Looked(1, ()), 0)


def test_a_picture_of_bins_counts_every_value() -> None:
    values = CHANCE.normal(size=1_000)
    text = bins(profile_of(values), profile_of(values))
    heights = [float(part.split('"')[0]) for part in text.split(' height="')[1:]]
    assert len(heights) == 10
    assert max(heights) - min(heights) < 0.5  # a tenth each
    assert bins(profile_of(np.zeros(500)), profile_of(values)).count("<rect") >= 2


def page_is_whole(text: str) -> None:
    """Fail for a page that asks for anything, or whose tags are not closed in order."""

    class Tags(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open_tags: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert not {"src", "href"} & {name for name, _ in attrs}
            if tag not in ("meta", "br"):
                self.open_tags.append(tag)

        def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert not {"src", "href"} & {name for name, _ in attrs}

        def handle_endtag(self, tag: str) -> None:
            assert self.open_tags.pop() == tag

    parser = Tags()
    parser.feed(text)
    assert parser.open_tags == []
