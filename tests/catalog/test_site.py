"""Issue 5, part 8: the catalog is whole, works from a disk, and shows data as text."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath

import pytest

from infra.catalog import pages
from infra.catalog.facts import Check, Facts, Ran
from infra.catalog.site import ASSETS, MARK, Site, render, write
from infra.command.main import run
from lake.contracts.contract import DATASETS, load
from lake.errors import BadInput
from lake.lineage.graph import graph
from lake.lineage.statements import statement_edges
from lake.queries.query import catalog as statements
from lake.tables.table_size import TableSize

NOW = datetime(2024, 8, 8, 12, tzinfo=UTC)
EVIL = "</td><script>alert('x')</script><img src=x onerror=alert(1)>{{ 7 * 7 }}"


class Page(HTMLParser):
    """What a page holds: its ids, its addresses, its tags, its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.addresses: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if found.get("id"):
            self.ids.add(str(found["id"]))
        self.addresses += [str(found[name]) for name in ("href", "src") if found.get(name)]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def site(facts: dict[str, Facts], silent: str = "") -> Site:
    contracts = [load(name) for name in DATASETS]
    return Site(contracts, facts, graph(statement_edges()), statements(), NOW, silent)


def trades(**changed: object) -> Facts:
    values = {
        "lake": TableSize(3, 4_000_000, 5_000, 2),
        "hot_bytes": 900,
        "newest": NOW,
        "lag_s": 30.0,
        "sample": (load("crypto_trades").names, [[EVIL] * len(load("crypto_trades").names)]),
        "checks": [Check("price_positive", NOW, False, 10, 2, "error")],
        "runs": [Ran(NOW, EVIL, "COMPLETE", 4711)],
        "missing": [EVIL],
    }
    return Facts(**{**values, **changed})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def found() -> dict[str, str]:
    return render(site({"crypto_trades": trades()}))


def test_every_dataset_has_a_page_with_every_column_unit_and_rule(found: dict[str, str]) -> None:
    for name in DATASETS:
        page = Page(found[f"datasets/{name}.html"])
        text = " ".join(page.text)
        contract = load(name)
        assert set(contract.names) <= page.ids
        assert all(column.unit in text for column in contract.columns)
        assert all(rule.name in text for rule in contract.rules)
        assert contract.owner in text
        assert f"datasets/{name}.html" in Page(found["index.html"]).addresses


def test_every_address_leads_to_a_file_and_a_place_in_it(found: dict[str, str]) -> None:
    ids = {path: Page(text).ids for path, text in found.items() if path.endswith(".html")}
    for path in ids:
        for address in Page(found[path]).addresses:
            assert ":" not in address, address  # no scheme: nothing from elsewhere
            target, _, place = address.partition("#")
            whole = str(PurePosixPath(path).parent / target)
            parts: list[str] = []
            for part in PurePosixPath(whole).parts:
                if part == "..":
                    parts.pop()
                else:
                    parts.append(part)
            leads = "/".join(parts)
            assert leads in found, address
            assert not place or place in ids[leads], address
    for entry in json.loads(found["search.js"].removeprefix("window.CATALOG = ")[:-2]):
        target, _, place = entry["page"].partition("#")
        assert not place or place in ids[target], entry


def test_no_file_names_another_site(found: dict[str, str]) -> None:
    for path, text in found.items():
        others = set(re.findall(r"https?://[^\s\"'<)]+", text)) - {"http://www.w3.org/2000/svg"}
        assert others == set(), path


def test_data_are_shown_as_they_are_and_run_nowhere(found: dict[str, str]) -> None:
    page = Page(found["datasets/crypto_trades.html"])
    assert sum(EVIL in text for text in page.text) == len(load("crypto_trades").names) + 2
    scripts = [attributes.get("src") for tag, attributes in page.tags if tag == "script"]
    assert scripts == ["../search.js", "../catalog.js"]
    assert not [tag for tag, attributes in page.tags if any(k.startswith("on") for k in attributes)]
    (policy,) = [a["content"] for tag, a in page.tags if a.get("http-equiv")]
    assert "script-src 'self'" in str(policy)
    assert "innerHTML" not in found["catalog.js"]


def test_every_page_is_well_formed(found: dict[str, str]) -> None:
    empty = {"meta", "link", "input", "br", "rect", "path", "img"}

    class Nesting(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag not in empty:
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            if tag not in empty:
                assert self.open.pop() == tag

    for path, text in found.items():
        if path.endswith(".html"):
            nesting = Nesting()
            nesting.feed(text)
            assert nesting.open == [], path


def test_without_a_server_the_pages_say_so() -> None:
    found = render(site({}, "postgres: not started"))
    assert set(found) >= {"index.html", "lineage.html", "statements.html", MARK, *ASSETS}
    assert "Contracts only: postgres: not started" in found["index.html"]


@pytest.mark.parametrize(
    ("lag_s", "word", "mood"),
    [(299.0, "5.0 min", "good"), (301.0, "5.0 min", "bad"), (172_800.0, "2.0 d", "bad")],
)
def test_freshness_is_held_against_the_contract(lag_s: float, word: str, mood: str) -> None:
    badge = pages.freshness(load("crypto_trades"), trades(lag_s=lag_s))
    assert (badge.word, badge.mood) == (word, mood)
    assert pages.freshness(load("releases"), trades(lag_s=lag_s)).mood == "plain"


def test_quality_is_the_last_result_of_each_rule_and_its_history_goes_on() -> None:
    minutes = [NOW - timedelta(minutes=5 * n) for n in range(100)]
    checks = [
        Check("a", at, n != 50, 10, 0 if n != 50 else 3, "error") for n, at in enumerate(minutes)
    ]
    checks += [Check("b", NOW, False, 10, 1, "warning")]
    facts = trades(checks=checks)
    badge = pages.quality(facts)
    assert (badge.word, badge.mood) == ("1 of 2 hold", "good")
    slots = pages.history(facts)
    assert len(slots) == pages.HISTORY_SLOTS
    assert slots[-1].meaning == "2024-08-08 12:00 UTC: b"
    assert pages.rules(load("crypto_trades"), facts)[-1].last.mood == "odd"


def test_a_folder_is_replaced_whole_and_one_of_others_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "catalog"
    write({MARK: "{}", "old.html": "old"}, folder)
    write({MARK: "{}", "a/new.html": "new"}, folder)
    assert sorted(p.name for p in folder.rglob("*") if p.is_file()) == [MARK, "new.html"]
    assert [each.name for each in tmp_path.iterdir()] == ["catalog"]
    other = tmp_path / "photos"
    other.mkdir()
    (other / "me.jpg").write_text("me")
    with pytest.raises(BadInput, match="no catalog"):
        write({MARK: "{}"}, other)
    assert (other / "me.jpg").exists()


def test_the_verb_makes_it_without_servers_and_says_what_it_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["catalog", "build", "--home", str(tmp_path / "home"), "-o", str(tmp_path / "site")]
    assert run([*words, "--contracts-only", "--json"]) == 0
    assert (tmp_path / "site" / "index.html").exists()
    assert json.loads(capsys.readouterr().out)["folder"] == str(tmp_path / "site")
    assert run(words) == 1
    assert "contracts only: postgres of " in capsys.readouterr().out
