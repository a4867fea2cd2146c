"""A venue's history, page by page, is what it traded; its limits and errors are heeded."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from decimal import Decimal

import pytest

from lake.clock import ManualClock
from lake.errors import Refused, Unavailable, WrongUse
from lake.feeds.codec import frames_of
from lake.feeds.history import HistoryCodec, frames_of_rows
from lake.history.binance import BinanceHistory
from lake.history.coinbase import CoinbaseHistory
from lake.history.kraken import KrakenHistory
from lake.history.massive import MassiveHistory
from lake.history.page import Page, Span, VenueHistory
from lake.history.web import RETRY_AFTER_S_MAX, TRIES_MAX, Web
from tests.history.venue_api import KEY, Fault, Trade, VenueApi

START_US = 1_723_100_400_000_000
HOUR_US = 3_600_000_000


def market(count: int = 5_000, seed: int = 1) -> list[Trade]:
    """Return trades of about an hour, ids without a hole, several of one millisecond."""
    chance = random.Random(seed)
    found, at_us = [], START_US
    for number in range(100_001, 100_001 + count):
        at_us += chance.choice((0, 0, 1_000, 1_000_000, 1_500_000))
        side = chance.choice(("buy", "sell"))
        price = f"{60_000 + chance.randrange(100_000) / 100:.2f}"
        found.append(Trade(number, at_us, price, f"0.{chance.randrange(1, 10**8):08}", side))
    return found


@pytest.fixture
def api() -> Iterator[VenueApi]:
    with VenueApi(market()) as running:
        yield running


@pytest.fixture
def closing_later() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


Maker = Callable[[ManualClock, str], VenueHistory]
MAKERS: dict[str, tuple[Maker, str]] = {
    "coinbase": (lambda clock, url: CoinbaseHistory(clock, url), "X:BTCUSD"),
    "kraken": (lambda clock, url: KrakenHistory(clock, url), "X:BTCUSD"),
    "binance": (lambda clock, url: BinanceHistory("usdm", clock, url), "X:BTCUSDT"),
    "massive": (lambda clock, url: MassiveHistory(clock, url, KEY), "X:BTCUSD"),
}


def pages(
    name: str, url: str, span_us: tuple[int, int], dataset: str = "crypto_trades"
) -> list[Page]:
    """Ask a venue for a span."""
    make, ticker = MAKERS[name]
    place = "usdm" if name == "binance" else "spot"
    with closing(make(ManualClock(), url)) as history:
        return list(history.pages(Span(dataset, ticker, place, *span_us)))


def said(found: list[Page]) -> list[tuple[str, int, Decimal, Decimal, str]]:
    """Return what pages say of trades, as the codec has it."""
    frames = [frame for page in found for frame in frames_of_rows(page.dataset, page.rows)]
    decoded = HistoryCodec().decode(frames_of(frames, received_us=START_US + 9 * HOUR_US))
    assert decoded.quarantine.num_rows == 0
    rows = decoded.tables["crypto_trades"].to_pylist()
    return [
        (r["trade_id"], int(r["event_time"].timestamp() * 1e6), r["price"], r["size"], r["side"])
        for r in rows
    ]


def wanted(trades: list[Trade], from_us: int, to_us: int, unit_us: int = 1):  # type: ignore[no-untyped-def]
    return [
        (str(e.number), e.at_us // unit_us * unit_us, Decimal(e.price), Decimal(e.size), e.side)
        for e in trades
        if from_us <= e.at_us < to_us
    ]


@pytest.mark.parametrize(
    ("name", "page_max"),
    [*((name, 1_000) for name in MAKERS), ("binance", 400), ("massive", 400)],
)
def test_pages_are_what_was_traded_in_the_span_in_order(
    api: VenueApi, name: str, page_max: int
) -> None:
    api.page_max = page_max
    trades = list(api.trades)
    span = trades[700].at_us + 1, trades[4_300].at_us
    found = pages(name, api.url, span)
    assert said(found) == wanted(trades, *span)
    assert len(found) > 2
    through = [page.through_us for page in found]
    assert through == sorted(through)
    assert through[-1] == span[1]


@pytest.mark.parametrize("name", MAKERS)
def test_a_span_can_be_gone_on_with_from_where_any_page_ended(api: VenueApi, name: str) -> None:
    trades = list(api.trades)
    span = trades[500].at_us, trades[4_000].at_us
    for reached in [page.through_us for page in pages(name, api.url, span)][:-1]:
        rest = said(pages(name, api.url, (reached, span[1])))
        assert rest == wanted(trades, reached, span[1])


@pytest.mark.parametrize("name", MAKERS)
def test_a_span_without_trades_is_an_empty_answer(api: VenueApi, name: str) -> None:
    for at_us in (START_US - HOUR_US, START_US + 9 * HOUR_US):
        found = pages(name, api.url, (at_us, at_us + 60_000_000))
        assert sum(page.rows.num_rows for page in found) == 0


@pytest.mark.parametrize("name", ["coinbase", "binance", "massive"])
def test_minute_bars_are_the_venue_s(api: VenueApi, name: str) -> None:
    first_us = START_US // 60_000_000 * 60_000_000
    span = first_us + 5 * 60_000_000, first_us + 30 * 60_000_000
    found = pages(name, api.url, span, "crypto_aggregates")
    rows = [row for page in found for row in page.rows.to_pylist()]
    bars = api.bars(*span)
    assert len(bars) > 20
    names = ("low", "high", "open", "close", "volume")
    assert [
        (int(r["event_time"].timestamp()), *(r[name] for name in names), r["interval"])
        for r in rows
    ] == [(bar[0], *map(Decimal, bar[1:]), "1m") for bar in bars]


@pytest.mark.parametrize("name", MAKERS)
def test_a_busy_venue_is_waited_for_as_long_as_it_asks(
    api: VenueApi, name: str, closing_later: ExitStack
) -> None:
    api.faults = [Fault(429, {"Retry-After": "7"}), Fault(418, {"Retry-After": "20"}), Fault(503)]
    make, ticker = MAKERS[name]
    clock = ManualClock()
    history = make(clock, api.url)
    closing_later.callback(history.close)
    span = Span("crypto_trades", ticker, history.feed("spot").partition(".")[2] or "spot",
                START_US, START_US + 60_000_000)  # fmt: skip
    assert said(list(history.pages(span))) == wanted(
        list(api.trades), START_US, START_US + 60_000_000
    )
    assert clock.monotonic_us() >= 27_000_000


def test_kraken_s_errors_come_with_status_200(api: VenueApi) -> None:
    api.faults = [Fault(200, text='{"error":["EAPI:Rate limit exceeded"]}')]
    assert said(pages("kraken", api.url, (START_US, START_US + 60_000_000)))
    unknown = Span("crypto_trades", "X:ETHUSD", "spot", START_US, START_US + 1)
    with (
        closing(KrakenHistory(ManualClock(), api.url)) as history,
        pytest.raises(Refused, match="Unknown asset pair"),
    ):
        list(history.pages(unknown))


def test_a_full_page_of_kraken_s_trades_without_ids_is_refused_and_gone_beyond(
    api: VenueApi,
) -> None:
    """Its oldest trades carry none; those after them are taken all the same."""
    api.without_id = 1_000
    trades = list(api.trades)
    found = pages("kraken", api.url, (START_US, trades[2_500].at_us))
    assert said(found) == wanted(trades[1_000:], START_US, trades[2_500].at_us)
    assert len(found[0].refused) == 1_000


def test_a_page_of_binance_s_of_which_nothing_can_be_read_does_not_end_the_span(
    api: VenueApi,
) -> None:
    trades = market(3_000)
    for n in range(1_000, 2_000):
        trades[n] = Trade(trades[n].number, trades[n].at_us, "-1", "1")
    api.trades = trades
    span = START_US, trades[-1].at_us
    found = pages("binance", api.url, span)
    assert said(found) == wanted(trades[:1_000] + trades[2_000:], *span)
    assert sum(len(page.refused) for page in found) == 1_000
    assert [page.through_us for page in found[1:4]] == [trades[999].at_us] * 3


def test_requests_keep_the_venue_s_pace(api: VenueApi) -> None:
    clock = ManualClock()
    span = Span("crypto_trades", "X:BTCUSD", "spot", START_US, START_US + HOUR_US)
    with closing(CoinbaseHistory(clock, api.url, pause_s=0.5)) as history:
        list(history.pages(span))
    assert clock.monotonic_us() >= (len(api.asked) - 1) * 500_000


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (Fault(404, text='{"message":"NotFound"}'), Refused, "404 Not Found.*NotFound"),
        (Fault(401, text='{"error":"Unknown API Key"}'), Refused, "check the key"),
        (Fault(429, {"Retry-After": str(int(RETRY_AFTER_S_MAX) + 1)}), Unavailable, "asks to wait"),
    ],
)
def test_what_a_venue_refuses_is_said_in_a_sentence(
    api: VenueApi, fault: Fault, error: type[Exception], words: str
) -> None:
    api.faults = [fault]
    with pytest.raises(error, match=words):
        pages("coinbase", api.url, (START_US, START_US + 1))
    assert len(api.asked) == 1


@pytest.mark.parametrize("fault", [Fault(500), Fault(200, text="<html>"), Fault(429)])
def test_a_venue_that_never_answers_is_given_up_after_so_many_tries(
    api: VenueApi, fault: Fault
) -> None:
    api.faults = [fault] * 100
    with pytest.raises(Unavailable, match=f"{TRIES_MAX} tries"):
        pages("binance", api.url, (START_US, START_US + 1))
    assert len(api.asked) == TRIES_MAX


def test_a_venue_that_is_not_there_is_unavailable() -> None:
    web = Web("http://127.0.0.1:9", ManualClock(), pause_s=0)
    with pytest.raises(Unavailable, match="ConnectError"):
        web.get("/")
    web.close()


def test_an_element_that_is_no_trade_is_quarantined_and_the_others_are_taken(api: VenueApi) -> None:
    trades = market(300)
    trades[3] = Trade(trades[3].number, trades[3].at_us, "-1", "1")
    trades[7] = Trade(trades[7].number, trades[7].at_us, "1", "many")
    api.trades = trades
    span = START_US, trades[200].at_us
    found = pages("coinbase", api.url, span)
    right = [each for each in trades if each not in (trades[3], trades[7])]
    assert said(found) == wanted(right, *span)
    refused = [frame for page in found for frame in page.refused]
    decoded = HistoryCodec().decode(frames_of(refused, received_us=START_US + HOUR_US))
    assert decoded.quarantine["reason"].to_pylist() == ["price_not_positive", "not_a_number"]
    assert all(str(trades[i].number).encode() in raw for i, raw in
               zip((3, 7), decoded.quarantine["raw"].to_pylist(), strict=True))  # fmt: skip


def test_a_key_goes_to_the_venue_s_own_address_only(api: VenueApi) -> None:
    api.page_max = 400
    found = pages("massive", api.url, (START_US, START_US + HOUR_US))
    assert len(found) > 3
    assert all(path.startswith("/v3/trades/X:BTC-USD?") for path in api.asked)


@pytest.mark.parametrize("name", ["coinbase", "kraken", "massive"])
def test_a_market_that_a_venue_has_not_is_wrong_use(name: str) -> None:
    with (
        closing(MAKERS[name][0](ManualClock(), "http://127.0.0.1:9")) as history,
        pytest.raises(WrongUse, match="spot only"),
    ):
        history.feed("usdm")
