"""Routes of the market: prices, bars, features, predictions."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path
from redis.exceptions import RedisError

from feature_repo.trading.market import Instrument
from lake.errors import Unavailable
from serving.service.answers import Json, NotThere
from serving.service.board import name_of
from serving.service.models import (
    Bars,
    BeforeUs,
    Exchange,
    Features,
    Interval,
    Name,
    NewPrediction,
    Predicted,
    Prices,
    Rows,
    Some,
)
from serving.service.parts import Parts, Reader, there
from serving.service.ports import Prediction
from serving.streams import keys
from serving.streams.latest import sentiments

Ticker = Annotated[Name, Path(description="For instance X:BTCUSD.")]


class MarketRoutes:
    """The routes of one service."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._board = parts.board
        self._given = parts.given

    def router(self) -> APIRouter:
        """Return the routes."""
        routes = APIRouter(prefix="/v1", tags=["market"])
        routes.get("/prices", response_model=Prices)(self.prices)
        routes.get("/prices/{ticker}", response_model=Prices)(self.price)
        routes.get("/bars/{ticker}", response_model=Bars)(self.bars)
        routes.get("/features/{ticker}", response_model=Features)(self.features)
        routes.get("/sentiment", response_model=Some)(self.sentiment)
        routes.post("/predict", response_model=Predicted)(self.predict)
        routes.get("/signals", response_model=Some)(self.signals)
        return routes

    async def prices(self, _: Reader) -> Json:
        """Return the newest price, bid and ask of every instrument."""
        return Json({"received_us": self._board.received_us, "prices": self._board.prices()})

    async def price(self, ticker: Ticker, _: Reader) -> Json:
        """Return those of one ticker, by venue."""
        found = self._board.prices(ticker)
        if not found:
            raise NotThere(f"ticker {ticker[:100]}", "was not heard of", "see /v1/prices")
        return Json({"received_us": self._board.received_us, "prices": found})

    def bars(
        self,
        ticker: Ticker,
        _: Reader,
        interval: Interval = "1m",
        exchange: Exchange = "",
        market: Exchange = "",
        before_us: BeforeUs = None,
        limit: Rows = 300,
    ) -> Json:
        """Return bars of an instrument: the speed layer's, and before them the lake's."""
        instrument = instrument_of(self._parts, ticker, exchange, market)
        recent = _recent(self._parts, instrument, interval, before_us, limit)
        missing = limit - len(recent)
        if missing > 0 and self._given.history is not None:
            first_us = int(recent[0]["t"]) if recent else before_us or self._parts.clock.now_us()
            older = self._given.history.bars(instrument, interval, first_us, missing)
            recent = [*map(dict, older), *recent]
        return Json({"instrument": _name(instrument), "interval": interval, "bars": recent})

    def features(
        self,
        ticker: Ticker,
        _: Reader,
        exchange: Exchange = "",
        market: Exchange = "",
        before_us: BeforeUs = None,
        limit: Rows = 1,
    ) -> Json:
        """Return features of an instrument's minutes: the newest, and rows of the lake before."""
        instrument = instrument_of(self._parts, ticker, exchange, market)
        newest = self._board.features(instrument) or _kept_features(self._parts, instrument)
        rows: list[Any] = []
        if limit > 1 and self._given.history is not None:
            end_us = self._parts.clock.now_us() if before_us is None else before_us
            rows = list(self._given.history.features(instrument, end_us, limit))
        return Json({"instrument": _name(instrument), "newest": newest, "rows": rows})

    def sentiment(self, _: Reader) -> Json:
        """Return each asset's sentiment of the last five minutes, by source; older is none."""
        return Json({"rows": sentiment_rows(self._parts)})

    def predict(self, asked: NewPrediction, _: Reader) -> Json:
        """Return what the model in use says of an instrument now."""
        predictor = there(self._given.predictor, "model")
        instrument = instrument_of(self._parts, asked.ticker, asked.exchange, asked.market)
        found = predictor.predict(instrument, explain=asked.explain)
        if found is None:
            fault, remedy = "has no fresh features", "wait for its next minute"
            raise NotThere(f"ticker {asked.ticker}", fault, remedy)
        return Json(prediction_row(found))

    def signals(self, _: Reader, limit: Rows = 50) -> Json:
        """Return the newest predictions."""
        found = there(self._given.predictor, "model").signals(limit)
        return Json({"rows": [prediction_row(each) for each in found]})


def sentiment_rows(parts: Parts) -> list[dict[str, Any]]:
    """Return each asset's sentiment, by source; Unavailable where Redis is away."""
    try:
        return sentiments(parts.client)
    except RedisError as error:
        raise Unavailable("redis", "does not answer", "start it: ticklake up") from error


def prediction_row(found: Prediction) -> dict[str, Any]:
    """Return a prediction as it is answered."""
    row = asdict(found)
    del row["instrument"]
    return {**found.instrument._asdict(), **row}


def instrument_of(parts: Parts, ticker: str, exchange: str, market: str) -> Instrument:
    """Return the one instrument that is meant; NotThere for none, or where several have the name.

    A name whose venue is said in full needs not have been heard of: the lake may know it.
    """
    found = parts.board.instrument(ticker, exchange, market)
    if found is None and exchange and market:
        return Instrument(ticker, exchange, market)
    if found is None:
        where = len(parts.board.prices(ticker))
        fault = "is traded in several places" if where > 1 else "was not heard of"
        remedy = "say exchange and market" if where > 1 else "see /v1/prices"
        raise NotThere(f"ticker {ticker}", fault, remedy)
    return found


def _recent(
    parts: Parts, instrument: Instrument, interval: str, before_us: int | None, limit: int
) -> list[dict[str, Any]]:
    """Return the newest bars that the speed layer keeps, in their order."""
    key = keys.bars(instrument.exchange, instrument.market, instrument.ticker, interval)
    end = "+inf" if before_us is None else f"({before_us}"
    try:
        found: Any = parts.client.zrevrangebyscore(key, end, "-inf", start=0, num=limit)
    except RedisError as error:
        raise Unavailable("redis", "does not answer", "start it: ticklake up") from error
    return [orjson.loads(raw) for raw in reversed(found)]


def _kept_features(parts: Parts, instrument: Instrument) -> dict[str, Any] | None:
    try:
        found: Any = parts.client.get(
            keys.features(instrument.exchange, instrument.market, instrument.ticker)
        )
    except RedisError as error:
        raise Unavailable("redis", "does not answer", "start it: ticklake up") from error
    return orjson.loads(found) if found else None


def _name(instrument: Instrument) -> str:
    return name_of(instrument.exchange, instrument.market, instrument.ticker)
