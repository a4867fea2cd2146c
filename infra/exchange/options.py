"""What the simulated exchange can be told; every option has its unit in its name and its bounds."""

from __future__ import annotations

from dataclasses import dataclass, fields

from infra.exchange.poison import POISON_KINDS
from lake.errors import WrongUse

RATE_MAX = 400_000
"""Events per second; above this the pacing of one process can't hold."""

TICKERS_MAX = 5_000
"""Tickers of one exchange."""

EVENTS_PER_FRAME_MAX = 1_000
"""Events in one frame."""

SECONDS_MAX = 10_000_000.0
"""Any time span (116 days)."""

SLOW_READER_BYTES_MAX = 64 << 20
"""Unread bytes of one connection before it is cut off, by default: about 5 s at 100,000/s."""


@dataclass(frozen=True, slots=True)
class Burst:
    """Another rate (events per second) from at_s (inclusive) for for_s seconds."""

    rate: int
    at_s: float
    for_s: float


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing is sent for for_s seconds from at_s (inclusive); events go on happening."""

    for_s: float
    at_s: float


@dataclass(frozen=True, slots=True)
class ExchangeOptions:
    """The simulated exchange's settings.

    host, port: where to listen; port 0 takes a free one.
    key: the API key that passes; empty lets any key but an empty one pass.
    seed: same seed, same events, ids counted from first_id and times from base_us.
    tickers: number of pairs (BTC-USD, ETH-USD, SIM003-USD, ...).
    rate: trades and quotes per second. skew: share of them on the first ticker, 0 to 1; None means
    0.8, or 1 for a single ticker. trade_share: trades among them, 0 to 1.
    seconds_bars: also send XAS every second.
    events_per_frame: most events in one frame.
    events: stop after this many trades and quotes, and stay up; 0 means never.
    for_s: end after this many seconds; 0 means never.
    base_us: time of the first event, UTC microseconds since the epoch; 0 means now.
    first_id: the first trade id of every pair and venue; 0 derives it from the base time, so that a
    restarted exchange never reuses an id.
    start_when_subscribed: the first event happens once somebody listens.
    cut_every_s: mean seconds until a subscribed connection is cut; 0 means never.
    duplicates: chance per frame that an earlier frame's trades are sent again.
    late: share of events held back, each by up to late_s seconds.
    poison: chance per frame of one bad event or bad frame, as an extra; poison_kinds: which.
    silences: spans without data. slow_start_s: delay of each connection's first answer.
    max_connections: authenticated connections at once; 0 means any number.
    auth_timeout_s: time to authenticate. slow_reader_bytes: unread bytes that cut a reader off.
    truth: path of the log of every event sent; empty means none.
    """

    host: str = "127.0.0.1"
    port: int = 8764
    key: str = ""
    seed: int = 1
    tickers: int = 2
    rate: int = 1_000
    skew: float | None = None
    trade_share: float = 0.45
    seconds_bars: bool = False
    events_per_frame: int = 20
    events: int = 0
    for_s: float = 0.0
    base_us: int = 0
    first_id: int = 0
    start_when_subscribed: bool = False
    bursts: tuple[Burst, ...] = ()
    cut_every_s: float = 0.0
    duplicates: float = 0.0
    late: float = 0.0
    late_s: float = 2.0
    poison: float = 0.0
    poison_kinds: tuple[str, ...] = POISON_KINDS
    silences: tuple[Silence, ...] = ()
    slow_start_s: float = 0.0
    max_connections: int = 0
    auth_timeout_s: float = 10.0
    slow_reader_bytes: int = SLOW_READER_BYTES_MAX
    truth: str = ""

    def __post_init__(self) -> None:
        for name, (low, high) in _BOUNDS.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise WrongUse(_flag(name), f"{value} is out of bounds", f"use {low} to {high}")
        for burst in self.bursts:
            if not 1 <= burst.rate <= RATE_MAX or burst.at_s < 0 or burst.for_s <= 0:
                raise WrongUse("--burst", f"{burst} is out of bounds", "use RATE@AT+FOR")
        _check_apart("--burst", [(burst.at_s, burst.for_s) for burst in self.bursts])
        for silence in self.silences:
            if silence.at_s < 0 or silence.for_s <= 0:
                raise WrongUse("--silence", f"{silence} is out of bounds", "use FOR@AT")
        unknown = sorted(set(self.poison_kinds) - set(POISON_KINDS))
        if unknown or not self.poison_kinds:
            raise WrongUse(
                "--poison-kinds",
                f"unknown kind {', '.join(unknown)}" if unknown else "none given",
                f"use some of {', '.join(POISON_KINDS)}",
            )

    @property
    def first_share(self) -> float:
        """Return the share of events on the first ticker."""
        if self.tickers == 1:
            return 1.0
        return 0.8 if self.skew is None else self.skew


_SHARE = (0.0, 1.0)
_SPAN = (0.0, SECONDS_MAX)
_BOUNDS: dict[str, tuple[float, float]] = {
    "port": (0, 65_535),
    "seed": (0, 2**63 - 1),
    "tickers": (1, TICKERS_MAX),
    "rate": (1, RATE_MAX),
    "skew": _SHARE,
    "trade_share": _SHARE,
    "events_per_frame": (1, EVENTS_PER_FRAME_MAX),
    "events": (0, 10**12),
    "for_s": _SPAN,
    "base_us": (0, 2_000_000_000_000_000 - 1),
    "first_id": (0, 10**14 * 9),
    "cut_every_s": _SPAN,
    "duplicates": _SHARE,
    "late": _SHARE,
    "late_s": (0.0, 3_600.0),
    "poison": _SHARE,
    "slow_start_s": (0.0, 3_600.0),
    "max_connections": (0, 10_000),
    "auth_timeout_s": (0.05, 3_600.0),
    "slow_reader_bytes": (1 << 16, 1 << 32),
}


def _flag(name: str) -> str:
    return "--" + name.removesuffix("_s").replace("_", "-")


def _check_apart(flag: str, spans: list[tuple[float, float]]) -> None:
    ends = [at_s + for_s for at_s, for_s in sorted(spans)]
    starts = [at_s for at_s, _ in sorted(spans)][1:]
    if any(start < end for start, end in zip(starts, ends, strict=False)):
        raise WrongUse(flag, "two of them overlap", "leave each its own span")


assert set(_BOUNDS) <= {field.name for field in fields(ExchangeOptions)}
