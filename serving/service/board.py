"""The newest of every instrument, as the workers tell it; one thread changes it, any may read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from feature_repo.trading.market import Instrument, Quote, Trade
from feature_repo.trading.money import units
from feature_repo.trading.usual_price import SAMPLE_US, UsualPrice
from lake.clock import Clock
from lake.feeds.codec import INDEX_BITS
from serving.desk.market import Rest, Told
from serving.streams.keys import Place
from serving.streams.latest import PRICE_MS

INSTRUMENTS_MAX = 20_000
"""Instruments that are held; others are left out, and counted."""

TRADE = ("price", "size")
QUOTE = ("bid_price", "bid_size", "ask_price", "ask_size")


class Item(NamedTuple):
    """Something that a client hears. kind: the list of a message that it belongs to; key: what it
    takes the place of; ticker: "" where it is of none; raw: it as JSON.
    """

    kind: str
    key: str
    ticker: str
    raw: bytes


class Board:
    """Prices, quotes and features by instrument; nothing older takes the place of what is newer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rows: dict[str, dict[str, Any]] = {}
        self._features: dict[str, dict[str, Any]] = {}
        self.received_us = 0
        """When the newest frame was received that a worker has worked on, UTC."""
        self.dropped = 0
        self.left_out = 0

    def take(self, update: Mapping[str, Any]) -> list[Item]:
        """Take a worker's update (serving.live.told); return what changed, each thing once."""
        self.received_us = max(self.received_us, int(update["received_us"]))
        self.dropped += int(update["dropped"])
        changed: dict[str, dict[str, Any]] = {}
        rest, heard_us = _rest(update), self._clock.monotonic_us()
        for given, names, mark in ((update["prices"], TRADE, "t"), (update["quotes"], QUOTE, "qt")):
            for each in given:
                row = self._row(each)
                if row is not None and (each["t"], each["s"]) >= row[f"{mark}_at"]:
                    row.update({name: each[name] for name in names})
                    if mark == "t" and each["t"] // SAMPLE_US > (usual := row["usual_at"]).second:
                        usual.note(units(each["price"]), each["t"])
                    row[f"{mark}_at"] = (each["t"], each["s"])
                    said_in = each["s"] >> INDEX_BITS
                    row[f"{mark}_rest_at"] = rest and rest._replace(said_in=said_in)
                    row[f"{mark}_heard_at"] = heard_us
                    row[mark] = each["t"]
                    changed[row["id"]] = row
        items = [
            Item("prices", key, row["ticker"], orjson.dumps(_shown(row, self.received_us)))
            for key, row in changed.items()
        ]
        return [*items, *self._bars(update), *self._take_features(update)]

    def prices(self, ticker: str = "") -> list[dict[str, Any]]:
        """Return the newest of each instrument, of one ticker or of all, by their names.

        is_fresh: its last trade came in the last PRICE_MS, and was heard in it, whatever steps the
        clock makes; an older price is no price.
        """
        now_us = self._clock.now_us()
        rows = [row for row in list(self._rows.values()) if not ticker or row["ticker"] == ticker]
        rows.sort(key=lambda row: row["id"])
        at_us = self._clock.monotonic_us()

        def is_fresh(row: dict[str, Any]) -> bool:
            age_us = max(now_us - int(row["t"] or 0), at_us - int(row["t_heard_at"]))
            return age_us <= PRICE_MS * 1_000

        return [{**_shown(row, 0), "is_fresh": is_fresh(row)} for row in rows]

    def items(self, tickers: frozenset[str] | None) -> list[Item]:
        """Return the newest of these tickers, None for all, for a client that begins."""
        return [
            Item("prices", row["id"], row["ticker"], orjson.dumps(_shown(row, self.received_us)))
            for row in list(self._rows.values())
            if tickers is None or row["ticker"] in tickers
        ]

    def instrument(self, ticker: str, exchange: str, market: str) -> Instrument | None:
        """Return the one instrument of these names, "" for any; None where none or several are."""
        found = [
            Instrument(row["ticker"], row["exchange"], row["market"])
            for row in list(self._rows.values())
            if row["ticker"] == ticker
            and exchange in ("", row["exchange"])
            and market in ("", row["market"])
        ]
        return found[0] if len(found) == 1 else None

    def told(self, instrument: Instrument) -> Told | None:
        """Return the newest trade and quote, with their frames; see serving.desk.market."""
        row = self._rows.get(name_of(instrument.exchange, instrument.market, instrument.ticker))
        if row is None:
            return None
        row = dict(row)  # the reader of updates goes on meanwhile
        trade = quote = None
        if row["t"] is not None:
            trade = Trade(instrument, row["t"], row["t"], *(units(row[name]) for name in TRADE))
        if row["qt"] is not None:
            quote = Quote(instrument, row["qt"], row["qt"], *(units(row[name]) for name in QUOTE))
        usual = row["usual_at"].value()
        at_us = self._clock.monotonic_us()
        heard = [max(0, at_us - row[f"{mark}_heard_at"]) for mark in ("t", "qt")]
        return Told(trade, row["t_rest_at"], quote, row["qt_rest_at"], usual, *heard)

    def features(self, instrument: Instrument) -> dict[str, Any] | None:
        """Return the newest features of an instrument that were heard of."""
        return self._features.get(name_of(instrument.exchange, instrument.market, instrument[0]))

    def __len__(self) -> int:
        return len(self._rows)

    def _row(self, each: Mapping[str, Any]) -> dict[str, Any] | None:
        key = name_of(each["exchange"], each["market"], each["ticker"])
        row = self._rows.get(key)
        if row is None:
            if len(self._rows) >= INSTRUMENTS_MAX:
                self.left_out += 1
                return None
            names = {name: each[name] for name in ("ticker", "exchange", "market")}
            empty = dict.fromkeys((*TRADE, *QUOTE, "t", "qt"))
            marks = {"t_at": (0, 0), "qt_at": (0, 0), "t_rest_at": None, "qt_rest_at": None}
            heard = {"t_heard_at": 0, "qt_heard_at": 0}
            row = {"id": key, **names, **empty, **marks, **heard, "usual_at": UsualPrice()}
            self._rows[key] = row
        return row

    def _bars(self, update: Mapping[str, Any]) -> Iterator[Item]:
        for kind in ("bars", "gone"):
            for bar in update[kind]:
                name = name_of(bar["exchange"], bar["market"], bar["ticker"])
                key = f"{name}:{bar['interval']}:{bar['t']}"
                raw = orjson.dumps({**bar, "id": name})
                yield Item(kind, key, bar["ticker"], raw)

    def _take_features(self, update: Mapping[str, Any]) -> Iterator[Item]:
        for row in update["features"]:
            key = name_of(row["exchange"], row["market"], row["ticker"])
            known = self._features.get(key)
            if known is None and len(self._features) >= INSTRUMENTS_MAX:
                continue
            if known is None or row["t"] >= known["t"]:
                self._features[key] = row
                yield Item("features", key, row["ticker"], orjson.dumps({**row, "id": key}))


def name_of(exchange: str, market: str, ticker: str) -> str:
    """Return an instrument's name in one word."""
    return f"{exchange}/{market}/{ticker}"


def _rest(update: Mapping[str, Any]) -> Rest | None:
    """Return the frames that an update rests on; None for a worker of before that tells none."""
    if not update.get("frames"):
        return None
    places = tuple(Place(*map(int, each)) for each in update["frames"])
    return Rest(int(update["shard"]), places)


def _shown(row: Mapping[str, Any], received_us: int) -> dict[str, Any]:
    shown = {name: value for name, value in row.items() if not name.endswith("_at")}
    return {**shown, "r": received_us} if received_us else shown
