"""What goes in and out of /v1, as OpenAPI says it. Times are UTC microseconds, amounts text."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from serving.service.limits import AMOUNT, NAME, REASON_CHARACTERS_MAX, ROWS_MAX

Name = Annotated[str, StringConstraints(pattern=NAME, max_length=100)]
NameOrNone = Annotated[str, StringConstraints(pattern=rf"^$|{NAME}", max_length=100)]
Amount = Annotated[str, StringConstraints(pattern=AMOUNT, max_length=30)]
Reason = Annotated[
    str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=REASON_CHARACTERS_MAX)
]
Rows = Annotated[int, Query(ge=1, le=ROWS_MAX, description="Rows at most.")]
BeforeUs = Annotated[
    int | None, Query(ge=0, le=2**62, description="Only what has t before this, UTC microseconds.")
]
Sequence = Annotated[int | None, Field(ge=1, le=2**31)]
Interval = Literal["1m", "5m", "1h"]
Exchange = Annotated[NameOrNone, Query(description="Needed where several have the ticker.")]


class Asked(BaseModel):
    """A body: what it does not know is refused, and nothing is guessed from another type."""

    model_config = ConfigDict(extra="forbid", strict=True)


class NewOrder(Asked):
    """An order to place. price: of limit and stop orders. client_order_id: the same is the same."""

    client_order_id: Name
    ticker: Name
    exchange: NameOrNone = ""
    market: NameOrNone = ""
    side: Literal["buy", "sell"]
    size: Amount
    kind: Literal["market", "limit", "stop"] = "market"
    price: Amount | None = None
    ioc: bool = False
    post_only: bool = False
    account: Name = "paper"


class NewCancel(Asked):
    """An order to take back. expected_sequence: 409 where it is at another event than this."""

    client_order_id: Name
    account: Name = "paper"
    expected_sequence: Sequence = None


class NewAmendment(Asked):
    """Another price or size for an order, or both; what is not given stays.

    expected_sequence: 409 where the order is at another event than this, so that a request which
    comes again puts no older price back.
    """

    price: Amount | None = None
    size: Amount | None = None
    expected_sequence: int = Field(ge=1, le=2**31)


class NewWord(Asked):
    """Why trading is stopped."""

    reason: Reason = ""


class NewRelease(Asked):
    """Why trading goes on. at_us: of the stop that it ends, as /v1/kill says it; 409 where another
    holds, so that a request which comes again, or late, ends no newer one.
    """

    at_us: int = Field(ge=0, le=2**62)
    reason: Reason = ""


class NewPrediction(Asked):
    """What to predict for. explain: with each feature's part in it."""

    ticker: Name
    exchange: NameOrNone = ""
    market: NameOrNone = ""
    explain: bool = False


class Error(BaseModel):
    """What is at fault, what is wrong with it, what to do."""

    kind: str
    thing: str
    fault: str
    remedy: str


class Refusal(BaseModel):
    """Every answer of status 400 and above."""

    error: Error


class PriceRow(BaseModel):
    """An instrument: its last trade (t) and best bid and ask (qt). is_fresh: of the last 5 s."""

    id: str
    ticker: str
    exchange: str
    market: str
    price: str | None
    size: str | None
    t: int | None
    bid_price: str | None
    bid_size: str | None
    ask_price: str | None
    ask_size: str | None
    qt: int | None
    is_fresh: bool


class Prices(BaseModel):
    """received_us: when the newest frame was received that is in them."""

    received_us: int
    prices: list[PriceRow]


class Bars(BaseModel):
    """Bars of an instrument in their order; a corrected one is in its place."""

    instrument: str
    interval: str
    bars: list[dict[str, Any]]


class Features(BaseModel):
    """The newest features of an instrument, and rows before them where they were asked for."""

    instrument: str
    newest: dict[str, Any] | None
    rows: list[dict[str, Any]]


class Predicted(BaseModel):
    """What a model says. prediction: in its label's unit; confidence: 0 to 1."""

    ticker: str
    exchange: str
    market: str
    prediction: float
    confidence: float
    model: str
    version: str
    role: str
    known_us: int
    made_us: int
    prediction_id: str
    fallback: str
    base: float | None
    contributions: dict[str, float]


class Some(BaseModel):
    """Rows, newest first where they have a time."""

    rows: list[dict[str, Any]]


class OneOrder(BaseModel):
    """An order and its events in their sequence."""

    order: dict[str, Any]
    events: list[dict[str, Any]]


class PlacedOrder(BaseModel):
    """An order as it stands."""

    order: dict[str, Any]


class KillWord(BaseModel):
    """Whether trading is stopped, since when, by whom and why. cancelling: orders that end now;
    faults: what of it a full disk does not hold, though trading is stopped.
    """

    killed: bool
    at_us: int
    by: str
    reason: str
    cancelling: int = 0
    faults: list[str] = []


class Lag(BaseModel):
    """Ages in seconds. tick: of the newest frame that a worker has worked on; redis: since it
    answered; None: never. dropped: frames left out under load since the service began.
    """

    tick_s: float | None
    redis_s: float | None
    dropped: int
    instruments: int
    clients: int
    freshness: list[dict[str, Any]]


class Health(BaseModel):
    """ok, or what is wrong. parts: what this service was given. processes: those beside it that
    have begun and did not end in order, and whether each says that it works.
    """

    status: Literal["ok", "degraded"]
    wrong: list[str]
    parts: dict[str, bool]
    processes: dict[str, bool]
    version: str
