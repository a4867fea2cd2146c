"""Issue 5, part 8: the catalog in a real Chromium, from a disk and without a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from infra.catalog.site import render, write
from lake.contracts.contract import DATASETS
from tests.catalog.test_site import EVIL, site, trades
from tests.chromium import chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("catalog") / "site"
    write(render(site({"crypto_trades": trades()})), folder)
    return folder


@contextmanager
def opened(browser: Browser, file: Path) -> Iterator[Page]:
    """Open a file of the catalog; nothing may be called an error, or come from elsewhere."""
    faults: list[str] = []
    context = browser.new_context(offline=True, viewport={"width": 1400, "height": 900})
    context.set_default_timeout(120_000)
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: said.type == "error" and faults.append(said.text))
    page.on("dialog", lambda dialog: faults.append(dialog.message))
    page.on(
        "request",
        lambda asked: asked.url.startswith(file.parent.parent.as_uri()) or faults.append(asked.url),
    )
    page.goto(file.as_uri())
    try:
        yield page
        assert faults == []
    finally:
        context.close()


def test_a_column_is_found_by_search_and_its_page_opened(browser: Browser, folder: Path) -> None:
    with opened(browser, folder / "index.html") as page:
        assert page.locator("table.datasets tbody tr").count() == len(DATASETS)
        page.keyboard.press("/")
        page.keyboard.type("crypto_trades price")
        page.wait_for_selector("#found a")
        page.keyboard.press("Enter")
        page.wait_for_url("**/datasets/crypto_trades.html*")
        assert "crypto_trades" in page.title()
        assert page.locator("#price").count() == 1
        page.keyboard.press("/")
        page.keyboard.type("no such thing at all")
        page.wait_for_selector("#found .none")


def test_data_are_text_in_the_browser_too(browser: Browser, folder: Path) -> None:
    with opened(browser, folder / "datasets" / "crypto_trades.html") as page:
        assert page.get_by_text(EVIL, exact=True).count() > 0


def test_the_lineage_is_drawn_and_leads_to_the_datasets(browser: Browser, folder: Path) -> None:
    with opened(browser, folder / "lineage.html") as page:
        drawing = page.locator(".drawing svg")
        box = drawing.bounding_box()
        assert box is not None
        assert box["width"] > 300
        drawing.get_by_text("bars", exact=True).first.click()
        page.wait_for_url("**/datasets/bars.html*")
