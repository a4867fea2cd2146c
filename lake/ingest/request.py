"""What one `ticklake ingest` is asked to do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from lake.errors import WrongUse
from lake.ingest.source import Source

LIVE_FEEDS = ("massive", "coinbase", "kraken", "binance", "sim")
REPLAY = "replay:"
CONNECTIONS_MAX = 16


@dataclass(frozen=True, slots=True)
class IngestRequest:
    """The feeds to ingest and for how long.

    feeds: live feeds by name, or replay:PATH. tickers: as the user spells them; none means all.
    connections: redundant connections per live feed. speed: "real", "max", or a factor ("10x").
    for_seconds: end after this long; until_end: end when every replay has ended. url: the socket to
    use instead of the venue's own, for a feed of one live venue. sources: what is read besides, its
    end is a replay's. shard: the one to own; None: the first that is free.
    """

    feeds: tuple[str, ...]
    tickers: tuple[str, ...] = ()
    connections: int = 1
    speed: str = "real"
    for_seconds: float | None = None
    until_end: bool = False
    url: str | None = None
    sources: tuple[Source, ...] = ()
    shard: int | None = None

    def __post_init__(self) -> None:
        for feed in self.feeds:
            if feed not in LIVE_FEEDS and not feed.startswith(REPLAY):
                known = ", ".join((*LIVE_FEEDS, f"{REPLAY}PATH"))
                raise WrongUse(f"feed {feed}", "is unknown", f"one of {known}")
        if "" in self.replays:
            raise WrongUse(f"feed {REPLAY!r}", "names no file", f"write {REPLAY}PATH")
        twice = [feed for feed, count in Counter(self.live).items() if count > 1]
        if twice:
            raise WrongUse(f"feed {twice[0]}", "is named twice", "for redundancy: --connections 2")
        if self.url is not None and len(self.live) != 1:
            fault = f"is the socket of one live feed; {len(self.live)} are named"
            raise WrongUse("--url", fault, "start an ingest for each")
        if not (self.feeds or self.sources):
            raise WrongUse("feeds", "none given", "name one, for instance `ticklake ingest sim`")
        if not 1 <= self.connections <= CONNECTIONS_MAX:
            raise WrongUse("--connections", "is out of bounds", f"1 to {CONNECTIONS_MAX}")
        speed_factor(self.speed)

    @property
    def live(self) -> tuple[str, ...]:
        """The live feeds."""
        return tuple(feed for feed in self.feeds if not feed.startswith(REPLAY))

    @property
    def replays(self) -> tuple[str, ...]:
        """The paths of the recordings."""
        return tuple(feed[len(REPLAY) :] for feed in self.feeds if feed.startswith(REPLAY))


def speed_factor(speed: str) -> float:
    """Return how much faster than recorded; infinity for "max". Raises WrongUse."""
    if speed == "real":
        return 1.0
    if speed == "max":
        return float("inf")
    try:
        factor = float(speed.removesuffix("x"))
    except ValueError:
        factor = 0.0
    if not speed.endswith("x") or not factor > 0:  # no NaN either
        raise WrongUse(f"--speed {speed}", "is no speed", "real, max, or a factor such as 10x")
    return factor
