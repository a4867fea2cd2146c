"""Which venues tell of the past, and how each is asked."""

from __future__ import annotations

from dataclasses import dataclass

from lake.clock import Clock
from lake.errors import WrongUse
from lake.history.binance import BinanceHistory
from lake.history.coinbase import CoinbaseHistory
from lake.history.kraken import KrakenHistory
from lake.history.massive import MassiveHistory
from lake.history.page import VenueHistory
from lake.settings import Settings

VENUES = ("massive", "coinbase", "kraken", "binance")


@dataclass(frozen=True, slots=True)
class VenueMarket:
    """A market of a venue; url: where to ask instead of the venue's own address."""

    venue: str
    market: str = "spot"
    url: str = ""

    def __str__(self) -> str:
        return self.venue if self.market == "spot" else f"{self.venue} {self.market}"


def history_of(where: VenueMarket, settings: Settings, clock: Clock) -> VenueHistory:
    """Return a venue's history; raises WrongUse for one that is unknown or needs a key."""
    venue, url = where.venue, where.url
    if venue == "massive":
        if not (settings.massive_api_key or url):
            raise WrongUse("venue massive", "needs a key", "set TICKLAKE_MASSIVE_API_KEY")
        return MassiveHistory(clock, url, settings.massive_api_key)
    if venue == "coinbase":
        return CoinbaseHistory(clock, url)
    if venue == "kraken":
        return KrakenHistory(clock, url)
    if venue == "binance":
        return BinanceHistory(where.market, clock, url, settings.binance_api_key)
    raise WrongUse(f"venue {venue}", "has no history here", f"one of {', '.join(VENUES)}")


def market_of_feed(feed: str) -> VenueMarket | None:
    """Return the venue and market of a live feed by its name in `feed_gaps`; None: no history."""
    venue, _, market = feed.partition(".")
    return VenueMarket(venue, market or "spot") if venue in VENUES else None
